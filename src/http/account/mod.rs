//! Who somebody is: registering, logging in and out, passwords, sessions, and the signed-in user's own profile.

pub mod auth;
pub mod keyholder;
pub mod me;
pub mod passwords;
pub mod sessions;
pub mod users;
