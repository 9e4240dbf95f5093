//! Accepts captured connections and finds out where each was going.
//!
//! The destination is the kernel's word, never the client's. A dial to the capture port itself, or
//! to a loopback address, is refused.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use ringfence_model::decision::Reason;
use ringfence_model::request::{Action, Protocol};
use ringfence_sys::original_dst::{original_v4, original_v6};
use tokio::net::{TcpListener, TcpStream};

use crate::config::CaptureMode;
use crate::flow::{captured, endpoint, request};
use crate::gateway::Gateway;
use crate::limits::ACCEPT_PAUSE;
use crate::relay;

/// How destinations are found.
pub(crate) struct Capture {
    pub(crate) mode: CaptureMode,
    pub(crate) stands_for: BTreeMap<u16, SocketAddr>,
}

impl Capture {
    fn destination(&self, stream: &TcpStream) -> io::Result<Option<SocketAddr>> {
        let own = canonical(stream.local_addr()?);
        if let Some(destination) = self.stands_for.get(&own.port()) {
            return Ok(Some(*destination));
        }
        match self.mode {
            CaptureMode::Ports => Ok(Some(own).filter(|to| !to.ip().is_loopback())),
            CaptureMode::Redirect => {
                let original = if stream.local_addr()?.is_ipv4() {
                    original_v4(stream)
                } else {
                    original_v6(stream)
                };
                // No entry means that nobody redirected it: it was dialled directly.
                let original = original.ok().map(canonical);
                Ok(original.filter(|to| *to != own && !to.ip().is_loopback()))
            }
        }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Accepts on one listener for as long as the gateway runs.
pub(crate) async fn accept(gateway: Rc<Gateway>, capture: Rc<Capture>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => serve(&gateway, &capture, stream).await,
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn serve(gateway: &Rc<Gateway>, capture: &Capture, stream: TcpStream) {
    let Ok(destination) = capture.destination(&stream) else {
        // It was gone before it was accepted.
        return;
    };
    let Some(destination) = destination else {
        let Ok(own) = stream.local_addr() else {
            return;
        };
        let ask = request(Action::Connect, endpoint(own), Protocol::Unknown);
        let reason = Reason::Malformed { what: "dial to the capture port".to_owned() };
        // Without a link the process is about to end.
        let _ = gateway.refuse(gateway.flow_id(), ask, reason).await;
        relay::reset_on_close(&stream);
        return;
    };
    let Some(place) = gateway.place() else {
        let ask = request(Action::Connect, endpoint(destination), Protocol::Unknown);
        gateway.refuse_over_limit(stream, ask).await;
        return;
    };
    let gateway = Rc::clone(gateway);
    tokio::task::spawn_local(async move {
        captured(gateway, stream, destination).await;
        drop(place);
    });
}
