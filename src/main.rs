#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    keep_freed_memory();
    souk::cli::main()
}

/// How long memory that is free stays the process's before the system gets it back. A journal under load frees and takes
/// the same megabytes every few seconds: with the allocator's own second, a tenth of the processors went into pages that
/// were given back, taken again and zeroed.
const KEPT_FREE_MS: std::ffi::c_long = 10_000;

/// `mi_option_purge_delay` of mimalloc.h, for which the crate has no name; its neighbour it has.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = libmimalloc_sys::mi_option_use_numa_nodes - 1;

// SAFETY: it sets a number in the allocator's table of options. That must not happen beside another call of its kind, and
// this is the first line of main: there is no other thread yet.
#[allow(unsafe_code)]
fn keep_freed_memory() {
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, KEPT_FREE_MS) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of the option is right: what it says before anybody sets it is the second that mimalloc waits.
    #[test]
    #[allow(unsafe_code)] // reads a number
    fn the_option_is_the_delay_of_giving_memory_back() {
        assert_eq!(unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) }, 1_000);
    }
}
