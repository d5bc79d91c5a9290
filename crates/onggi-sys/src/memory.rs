//! The allocator's memory.

/// Gives freed memory back to the kernel. malloc_trim(3); a C library without it keeps what it has.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: touches only memory that the allocator knows to be free.
    unsafe {
        libc::malloc_trim(0);
    }
}
