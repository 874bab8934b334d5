//! Work that takes only what others leave: training, and reading the past.

/// Lowers the priority of the thread that calls (on Linux `nice` is of the thread), and of those it starts.
pub(crate) fn lower_priority(what: &str) {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(19) {
        tracing::warn!(%error, what, "cannot lower the priority");
    }
    #[cfg(not(target_os = "linux"))]
    let _whole_process = what; // elsewhere it would slow down all of the agent
}

/// Gives memory that was used once back to the system: what a training, a burst or the reading of the past took lies between what
/// stays, and is not to count as the agent's until the next one (`tests/bench/run models`).
#[allow(unsafe_code, reason = "malloc_trim has no safe wrapper")]
pub(crate) fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim only returns free pages; it may be called by any thread at any time (malloc_trim(3): MT-Safe).
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    //! That the work gives way, as the kernel sees it.

    /// The nice value of the thread that calls: field 19 of its `stat` (proc_pid_stat(5)), the 17th after the name.
    fn niceness() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let fields = stat.rsplit_once(") ").unwrap().1;
        fields.split(' ').nth(16).unwrap().parse().unwrap()
    }

    #[test]
    fn training_gives_way_to_the_rest_of_the_agent() {
        let before = niceness();
        let trainer = super::super::run::trainer(&sentinel_contract::Pressure::default()).unwrap();
        let job = trainer.submit(|| (niceness(), std::thread::current().name().map(str::to_owned)));
        assert_eq!(job.wait(), Some((19, Some("training".to_owned()))));
        assert_eq!(niceness(), before, "and to nobody else");
    }
}
