//! Published ports: connections from the host to a port inside, each allowed by the authority.

use std::cell::Cell;
use std::net::Ipv4Addr;
use std::rc::Rc;

use ringfence_model::request::{Action, Context, Request, Resource};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::gateway::{Counts, Gateway};
use crate::handoff::Init;
use crate::limits::{ACCEPT_PAUSE, DIAL};
use crate::relay;

fn request(inside: u16) -> Request {
    Request {
        action: Action::Publish,
        resource: Resource::Port(inside),
        context: Context::default(),
    }
}

/// Accepts on one host listener for as long as the gateway runs.
pub(crate) async fn accept(
    gateway: Rc<Gateway>,
    init: Rc<Init>,
    listener: TcpListener,
    inside: u16,
) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Some(place) = gateway.place() else {
            gateway.refuse_over_limit(stream, request(inside)).await;
            continue;
        };
        let (gateway, init) = (Rc::clone(&gateway), Rc::clone(&init));
        tokio::task::spawn_local(async move {
            connection(&gateway, &init, stream, inside).await;
            drop(place);
        });
    }
}

async fn connection(gateway: &Rc<Gateway>, init: &Init, host: TcpStream, inside: u16) {
    let flow = gateway.flow_id();
    let decision = gateway.ask(flow, request(inside)).await;
    if !decision.verdict.is_allow() {
        relay::reset_on_close(&host);
        return;
    }
    let counts = Counts::new();
    let (sent, received) = (&counts.sent, &counts.received);
    let mut registered = gateway.register(flow, request(inside), decision.generation, &counts);
    let work = async {
        let socket = TcpSocket::from_std_stream(init.want().await.map_err(text)?);
        let to = (Ipv4Addr::LOCALHOST, inside).into();
        let own = timeout(DIAL, socket.connect(to))
            .await
            .map_err(|late| late.to_string())?
            .map_err(text)?;
        relay::prepare(&host).map_err(text)?;
        relay::prepare(&own).map_err(text)?;
        let half_closed = Cell::new(false);
        let out = async {
            let end = relay::pump(&own, &host, sent, None).await;
            half_closed.set(true);
            end
        };
        let into = async {
            let end = relay::pump(&host, &own, received, None).await;
            half_closed.set(true);
            end
        };
        let end = tokio::select! {
            end = async { tokio::try_join!(out, into) } => end.map(|_| ()).map_err(text),
            () = relay::idle(sent, received, &half_closed) => Err("idle for too long".to_owned()),
        };
        if end.is_err() {
            relay::reset_on_close(&own);
        }
        end
    };
    let end = tokio::select! {
        end = work => end,
        Ok(reason) = &mut registered.closed => Err(format!("no longer allowed: {reason}")),
    };
    if end.is_err() {
        relay::reset_on_close(&host);
    }
    let message = counts.closed(flow, end.err());
    // Without a link the process is about to end.
    let _ = gateway.link.send(&message).await;
}

#[expect(clippy::needless_pass_by_value, reason = "used with map_err")]
fn text(error: std::io::Error) -> String {
    error.to_string()
}
