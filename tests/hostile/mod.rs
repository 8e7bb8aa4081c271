//! Clients that mean harm, or behave as if: they send slowly, too much or without end, open connections by the
//! thousand, never read, never go. The real server, with short patience: its memory stays bounded, everybody
//! else is served, and whoever holds something without use is cut off.

mod crowds;
mod endings;
mod giants;
mod readers;
mod server;
mod slow;
mod wire;
