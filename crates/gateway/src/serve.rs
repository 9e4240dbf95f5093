//! The gateway's life: confine, take over the listeners, say so, wait for the first event, serve.
//!
//! Nothing from inside is read before the confinement holds, and nothing goes on after the link to
//! the supervisor has ended.

use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use ringfence_model::enforcement::Control;
use ringfence_model::link::FromGateway;
use rustix::event::{PollFd, PollFlags, poll};
use tokio::net::TcpListener;
use tokio::task::{LocalSet, spawn_local};

use crate::capture::{self, Capture};
use crate::config::{CaptureMode, Config, Handoff};
use crate::confine::{Confined, confine};
use crate::dns::server;
use crate::error::{GatewayError, starting};
use crate::gateway::Gateway;
use crate::handoff::{self, Init, Sockets};
use crate::limits::LISTENERS;
use crate::link::{Link, Notice};
use crate::proxy::Proxies;
use crate::publish;
use crate::resolve::Resolver;

/// Runs the gateway until the link to the supervisor ends. Call it in the forked child, which must
/// have one thread, and leave the process when it returns.
///
/// # Errors
/// [`GatewayError`]: the run must not start, or must end.
pub fn serve(config: Config) -> Result<(), GatewayError> {
    let prepared = prepare(&config).inspect_err(|error| confess(&config.link, error))?;
    let Some(Prepared { handoff, sockets, proxies, flows }) = prepared else {
        return Ok(());
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(starting("start its event loop"))
        .inspect_err(|error| confess(&config.link, error))?;
    // Dropping the set closes every connection: the supervisor is gone, so nothing may go on.
    LocalSet::new().block_on(&runtime, run(config, handoff, sockets, proxies, flows))
}

/// What is there once the gateway is confined and something has happened.
struct Prepared {
    handoff: Handoff,
    sockets: Sockets,
    proxies: Proxies,
    flows: usize,
}

/// Why it could not start, for the person who waits for it.
fn confess(link: &OwnedFd, error: &GatewayError) {
    let fault = FromGateway::Fault { what: error.to_string() };
    if let Ok(bytes) = serde_json::to_vec(&fault) {
        let _ = rustix::net::send(link, &bytes, rustix::net::SendFlags::NOSIGNAL);
    }
}

/// Everything up to the first event; `None` when the supervisor is gone before it.
fn prepare(config: &Config) -> Result<Option<Prepared>, GatewayError> {
    let proxies = Proxies::new(&config.proxy)?;
    let Confined { mut controls, flows } = confine(config)?;
    if !wait(&[config.listeners.as_fd()], config.link.as_fd())? {
        return Ok(None);
    }
    let (handoff, sockets) = handoff::first(config.listeners.as_fd())?;
    controls.push(captured(&handoff));
    let ready = serde_json::to_vec(&FromGateway::Ready { controls })
        .map_err(starting("say that it is ready"))?;
    rustix::net::send(&config.link, &ready, rustix::net::SendFlags::NOSIGNAL)
        .map_err(starting("say that it is ready"))?;
    if !first_event(config, &sockets)? {
        return Ok(None);
    }
    Ok(Some(Prepared { handoff, sockets, proxies, flows }))
}

fn captured(handoff: &Handoff) -> Control {
    let how = match handoff.mode {
        CaptureMode::Redirect => {
            format!("every TCP port is redirected to port {}", handoff.capture_port)
        }
        CaptureMode::Ports => {
            "a listener on each named TCP port; other ports are refused".to_owned()
        }
    };
    Control::enforced("gateway.capture", format!("{how}; DNS on port {}", handoff.dns_port))
}

/// Waits for one of `events`; false when the link ended instead.
fn wait(
    events: &[std::os::fd::BorrowedFd<'_>],
    link: std::os::fd::BorrowedFd<'_>,
) -> Result<bool, GatewayError> {
    let mut all: Vec<PollFd<'_>> = vec![PollFd::from_borrowed_fd(link, PollFlags::IN)];
    all.extend(events.iter().map(|event| PollFd::from_borrowed_fd(*event, PollFlags::IN)));
    loop {
        match poll(&mut all, None) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(starting("wait for its first event")(error)),
            Ok(_) => break,
        }
    }
    let ended =
        all.first().is_some_and(|link| link.revents().intersects(PollFlags::HUP | PollFlags::ERR));
    Ok(!ended)
}

/// Sleeps until there is anything to do: an idle gateway has no event loop and little memory.
fn first_event(config: &Config, sockets: &Sockets) -> Result<bool, GatewayError> {
    let mut events = vec![config.listeners.as_fd()];
    events.extend(sockets.capture.iter().map(AsFd::as_fd));
    events.extend(sockets.dns_tcp.iter().map(AsFd::as_fd));
    events.extend(sockets.dns_udp.iter().map(AsFd::as_fd));
    events.extend(config.publish.iter().map(|(listener, _)| listener.as_fd()));
    wait(&events, config.link.as_fd())
}

async fn run(
    config: Config,
    handoff: Handoff,
    sockets: Sockets,
    proxies: Proxies,
    flows: usize,
) -> Result<(), GatewayError> {
    let link = Link::new(config.link).map_err(GatewayError::Link)?;
    let resolver = Resolver::new(config.upstream_resolver);
    let gateway = Rc::new(Gateway::new(link, resolver, proxies, config.sandbox, flows));
    let capture = Rc::new(Capture { mode: handoff.mode, stands_for: handoff.stands_for });
    for listener in sockets.capture {
        let listener = TcpListener::from_std(listener).map_err(starting("listen"))?;
        spawn_local(capture::accept(Rc::clone(&gateway), Rc::clone(&capture), listener));
    }
    for socket in sockets.dns_udp {
        spawn_local(answer_udp(Rc::clone(&gateway), socket));
    }
    for listener in sockets.dns_tcp {
        let listener = TcpListener::from_std(listener).map_err(starting("listen"))?;
        spawn_local(server::tcp(Rc::clone(&gateway), listener));
    }
    spawn_local(server::count_suppressed(Rc::clone(&gateway)));
    let init = Rc::new(Init::new(config.listeners).map_err(starting("listen to init"))?);
    for (listener, inside) in config.publish {
        listener.set_nonblocking(true).map_err(starting("publish a port"))?;
        let listener = TcpListener::from_std(listener).map_err(starting("publish a port"))?;
        spawn_local(publish::accept(Rc::clone(&gateway), Rc::clone(&init), listener, inside));
    }
    spawn_local(more_listeners(Rc::clone(&gateway), capture, init));
    loop {
        match gateway.link.notice().await.map_err(GatewayError::Link)? {
            Notice::Generation => gateway.judge_all_again(),
            Notice::Ended => {
                gateway.tell_rest();
                return Ok(());
            }
        }
    }
}

async fn answer_udp(gateway: Rc<Gateway>, socket: OwnedFd) {
    if let Err(error) = server::udp(Rc::clone(&gateway), socket).await {
        let what = format!("{}: DNS inside stopped: {error}", gateway.sandbox);
        // Without a link the process is about to end.
        let _ = gateway.link.send(&FromGateway::Fault { what }).await;
    }
}

/// Takes over what init hands over later, until init is gone.
async fn more_listeners(gateway: Rc<Gateway>, capture: Rc<Capture>, init: Rc<Init>) {
    let mut count = 0;
    while let Ok(listeners) = init.more().await {
        for listener in listeners {
            count += 1;
            if count > LISTENERS {
                continue;
            }
            if let Ok(listener) = TcpListener::from_std(listener) {
                spawn_local(capture::accept(Rc::clone(&gateway), Rc::clone(&capture), listener));
            }
        }
    }
}
