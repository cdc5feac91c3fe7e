//! Tasks of the control runtime.

/// Runs a task on the control runtime; a panic ends the task alone and shows in the log thread's
/// standard error.
pub(crate) fn spawn(
    task: impl Future<Output = ()> + Send + 'static,
) -> tokio::task::JoinHandle<()> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that spawns on control's runtime"
    )]
    tokio::spawn(task)
}
