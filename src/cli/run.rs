//! `run`: the agent itself, until SIGTERM or SIGINT.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sentinel_contract::desk::MEMORY_MS;
use sentinel_contract::history::{History, NoHistory};
use sentinel_contract::trainer::Trainer;
use sentinel_contract::{Desk, Incident, Pressure};
use sentinel_engine::burst;
use sentinel_engine::clock::now_ms;
use sentinel_engine::config::{Plan, Shared};
use sentinel_engine::control::Control;
use sentinel_engine::pipeline::{self, Running};
use sentinel_engine::pressure;
use sentinel_history::Store;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::low::{give_back_memory, lower_priority};
use super::reload::{Watch, reload};
use super::{EXIT_CONFIG, Options, backfill, complain, paths};

/// Past changes of incidents that are looked at on start.
const MOST_CHANGES: usize = 20_000;
/// How often `--watch` looks at the configuration's files.
const LOOK: Duration = Duration::from_secs(1);

/// Checks, starts, waits, stops. Never waits for the network.
pub(crate) fn run(options: &Options, watch: bool) -> anyhow::Result<ExitCode> {
    bound_arenas();
    options.start_log();
    let state_dir = paths::state_dir(options.state_dir.as_deref());
    let plan = match options.plan(&Shared::inert(state_dir.clone())) {
        Ok(plan) => Arc::new(plan),
        Err(problems) => {
            complain(&problems.render());
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
    };
    std::fs::create_dir_all(&state_dir)
        .with_context(|| format!("cannot create the state folder {}", state_dir.display()))?;
    let _lock = lock(&state_dir)?;
    let mut is_kept = true;
    let history: Arc<dyn History> = match Store::open(
        &state_dir.join("history.db"),
        plan.agent.history_retention.0,
    ) {
        Ok(store) => store,
        Err(error) => {
            // Collection and delivery do not need it.
            tracing::error!(error = %format!("{error:#}"), "cannot open the history: running without it");
            is_kept = false;
            Arc::new(NoHistory)
        }
    };
    let desk = desk(&plan, &*history);
    let pressure = Pressure::default();
    let trainer = trainer(&pressure)?;
    let shared = Shared { state_dir, history, trainer, desk, pressure };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let past = if is_kept { backfill::job(&plan, &shared) } else { None };
    let watch = watch.then(|| Watch::new(options));
    let outcome = runtime.block_on(serve(plan, shared, past, options, watch));
    runtime.shutdown_timeout(Duration::from_millis(500));
    outcome
}

async fn serve(
    plan: Arc<Plan>,
    shared: Shared,
    past: Option<backfill::Job>,
    options: &Options,
    mut watch: Option<Watch>,
) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let listener = match plan.web.listen.as_str() {
        "" => None,
        address => match tokio::net::TcpListener::bind(address).await {
            Ok(listener) => Some(listener),
            Err(error) => {
                // A taken port must not stop delivery.
                tracing::error!(%address, %error, "no page: the address cannot be bound");
                None
            }
        },
    };
    let history = Arc::clone(&shared.history);
    let mut running = pipeline::start(&plan, &shared)?;
    let watch_host = tokio::spawn(pressure::watch(shared.pressure.clone()));
    let watch_bursts = tokio::spawn(burst::watch(Arc::clone(&running.telemetry), give_back_memory));
    let page_stop = CancellationToken::new();
    let control_stop = CancellationToken::new();
    let shown = past.as_ref().map(backfill::Job::shown).unwrap_or_default();
    if let Some(past) = past {
        past.start(running.commands.clone(), control_stop.clone())?;
    }
    let control = control(&shared.state_dir, &running, &control_stop);
    if let Some(listener) = listener {
        let address = listener.local_addr()?;
        let app = app(&running, history, &plan, (&shared.state_dir, shown));
        tokio::spawn(page(listener, app, page_stop.clone()));
        tracing::info!(page = %format!("http://{address}/"), "running");
    } else {
        tracing::info!("running");
    }
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            interrupt = tokio::signal::ctrl_c() => { interrupt?; break }
            _ = hang_up.recv() => reload(options, &mut running, &shared).await,
            _ = looks.tick(), if watch.is_some() => {
                if watch.as_mut().is_some_and(Watch::has_changed) {
                    reload(options, &mut running, &shared).await;
                }
            }
        }
    }
    tracing::info!("stopping (a second signal: at once)");
    control_stop.cancel();
    if let Some(control) = control {
        let _removes_the_socket = control.await;
    }
    tokio::select! {
        () = running.stop() => {}
        _ = terminate.recv() => tracing::warn!("told twice: stopping at once"),
        _ = tokio::signal::ctrl_c() => tracing::warn!("told twice: stopping at once"),
    }
    watch_host.abort();
    watch_bursts.abort();
    page_stop.cancel();
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

async fn page(listener: tokio::net::TcpListener, app: sentinel_web::App, stop: CancellationToken) {
    if let Err(error) = sentinel_web::serve(listener, app, stop).await {
        tracing::error!(error = %format!("{error:#}"), "the page has ended");
    }
}

/// Commands are taken while this task runs. Collection and delivery do not need them.
fn control(
    state_dir: &Path,
    running: &Running,
    stop: &CancellationToken,
) -> Option<tokio::task::JoinHandle<()>> {
    match Control::open(state_dir) {
        Ok(control) => Some(tokio::spawn(control.serve(running.commands.clone(), stop.clone()))),
        Err(error) => {
            tracing::error!(error = %format!("{error:#}"), "no commands are taken: no control socket");
            None
        }
    }
}

fn app(
    running: &Running,
    history: Arc<dyn History>,
    plan: &Plan,
    (state_dir, past): (&Path, backfill::Shown),
) -> sentinel_web::App {
    let (status, metrics, ready) = (
        Arc::clone(&running.telemetry),
        Arc::clone(&running.telemetry),
        Arc::clone(&running.telemetry),
    );
    // Where commands go: the one who runs them may have another default than the service.
    let state_dir = std::path::absolute(state_dir).unwrap_or_else(|_| state_dir.to_owned());
    let state_dir = state_dir.to_string_lossy().into_owned();
    sentinel_web::App {
        status: Arc::new(move || {
            let mut status = status.json();
            status["state_dir"] = state_dir.as_str().into();
            status["backfill"] = past.json();
            status
        }),
        metrics: Arc::new(move || metrics.prometheus()),
        ready: Arc::new(move || ready.ready()),
        history,
        allowed_hosts: plan.web.allowed_hosts.clone(),
    }
}

/// One agent a state folder: two would spoil each other's positions.
pub(super) fn lock(state_dir: &Path) -> anyhow::Result<File> {
    let path = state_dir.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot write to the state folder {}", state_dir.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            anyhow::bail!("another agent uses the state folder {}", state_dir.display())
        }
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

/// The desk, as the last run left it: nobody is called twice because of a restart. What a detector left open that is no
/// longer configured ends here.
fn desk(plan: &Plan, history: &dyn History) -> Desk {
    let desk = Desk::new(plan.agent.budget());
    let now_ms = now_ms();
    match history.incidents(now_ms - MEMORY_MS, MOST_CHANGES) {
        Ok(changes) => desk.recall(&changes, now_ms),
        Err(error) => {
            tracing::error!(error = %format!("{error:#}"), "cannot read past incidents: a call may come twice");
        }
    }
    end_incidents_of_the_gone(plan, history, &desk);
    desk
}

/// Nobody else would ever end them.
pub(super) fn end_incidents_of_the_gone(plan: &Plan, history: &dyn History, desk: &Desk) {
    let now_ms = now_ms();
    let is_configured = |alias: &str| plan.processors.iter().any(|(spec, _)| *spec.alias == *alias);
    for lost in desk.lost(|one: &Incident| !is_configured(&one.detector), now_ms) {
        let reason = "its detector is no longer configured".to_owned();
        history.record_incident(&Incident { reason, ..lost });
    }
}

/// The training thread: it takes only what others leave.
pub(super) fn trainer(pressure: &Pressure) -> anyhow::Result<Trainer> {
    let (trainer, work) =
        Trainer::new(pressure.clone(), || lower_priority("training"), give_back_memory);
    std::thread::Builder::new().name("training".to_owned()).spawn(work)?;
    Ok(trainer)
}

/// One malloc arena: with an arena a thread, glibc keeps several megabytes that were used once (src/README.md).
#[allow(
    unsafe_code,
    reason = "mallopt has no safe wrapper; it is called before any other thread exists"
)]
fn bound_arenas() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt only sets a parameter of the allocator.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
