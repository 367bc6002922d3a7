//! Requests in flight, in both directions, for one [`Exchange`].

use std::collections::{HashMap, VecDeque};
use std::io;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use libp2p::PeerId;
use libp2p::request_response::{
    self, InboundRequestId, Message, OutboundFailure, OutboundRequestId, ResponseChannel,
};
use tokio::sync::oneshot;

use super::codec::{Exchange, FrameCodec, ReadRequest};
use super::config::NetLimits;
use super::error::NetError;
use super::events::{Counters, Events};
use super::handle::Reply;
use super::penalties::Offence;

/// Own requests that may wait for a place with their peer.
const WAITING_MAX: usize = 256;

type Protocol<E> = request_response::Behaviour<FrameCodec<E>>;
type Event<E> = request_response::Event<ReadRequest<E>, <E as Exchange>::Response>;

/// An own answer on its way to the peer, or `None` where the node refused to answer.
pub(super) type Answer<E> =
    (ResponseChannel<<E as Exchange>::Response>, Option<<E as Exchange>::Response>);

/// Requests in flight.
pub(super) struct Requests<E: Exchange> {
    per_peer: usize,
    in_service_max: usize,
    timeout: Duration,
    /// Own requests that were sent.
    sent: HashMap<OutboundRequestId, (PeerId, Reply<E::Response>)>,
    /// Own requests for which the peer has no place yet.
    waiting: VecDeque<(PeerId, E::Request, Reply<E::Response>)>,
    /// Requests of peers.
    in_service: HashMap<InboundRequestId, PeerId>,
    answers: FuturesUnordered<BoxFuture<'static, Answer<E>>>,
}

impl<E: Exchange> Requests<E> {
    pub(super) fn new(limits: &NetLimits) -> Self {
        Self {
            per_peer: limits.requests_per_peer.max(1),
            in_service_max: limits.requests.max(1),
            timeout: limits.request_timeout,
            sent: HashMap::new(),
            waiting: VecDeque::new(),
            in_service: HashMap::new(),
            answers: FuturesUnordered::new(),
        }
    }

    /// Sends a request as soon as the peer has a place for it.
    pub(super) fn ask(
        &mut self,
        protocol: &mut Protocol<E>,
        peer: PeerId,
        request: E::Request,
        reply: Reply<E::Response>,
    ) {
        if self.waiting.len() >= WAITING_MAX {
            let _ = reply.send(Err(NetError::Busy("too many requests are waiting")));
            return;
        }
        self.waiting.push_back((peer, request, reply));
        self.send_waiting(protocol);
    }

    /// Handles an event and returns the offence in it, if there is one.
    pub(super) fn on_event(
        &mut self,
        protocol: &mut Protocol<E>,
        events: &Events,
        event: Event<E>,
    ) -> Option<(PeerId, Offence)> {
        match event {
            Event::<E>::Message { peer, message, .. } => match message {
                Message::Request { request_id, request: Ok(request), channel } => {
                    self.serve(events, peer, request_id, request, channel);
                    None
                }
                Message::Request { request: Err(reason), .. } => {
                    tracing::debug!(%peer, protocol = E::NAME, "malformed request: {reason}");
                    Some((peer, Offence::MalformedRequest))
                }
                Message::Response { request_id, response } => {
                    self.conclude(protocol, request_id, Ok(response));
                    None
                }
            },
            Event::<E>::OutboundFailure { peer, request_id, error, .. } => {
                let (error, offence) = outbound_failure(peer, error);
                self.conclude(protocol, request_id, Err(error));
                offence.map(|offence| (peer, offence))
            }
            Event::<E>::InboundFailure { request_id, .. }
            | Event::<E>::ResponseSent { request_id, .. } => {
                self.in_service.remove(&request_id);
                None
            }
        }
    }

    /// The next answer that the node gave. Never ready while no request is in service.
    pub(super) async fn next_answer(&mut self) -> Answer<E> {
        match self.answers.next().await {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    /// Passes on an answer; dropping the channel of a refused request tells the peer.
    pub(super) fn answer(protocol: &mut Protocol<E>, (channel, response): Answer<E>) {
        if let Some(response) = response {
            // The peer may have gone or run out of time; either is reported as an event.
            let _ = protocol.send_response(channel, response);
        }
    }

    fn serve(
        &mut self,
        events: &Events,
        peer: PeerId,
        id: InboundRequestId,
        request: E::Request,
        channel: ResponseChannel<E::Response>,
    ) {
        let of_peer = self.in_service.values().filter(|other| **other == peer).count();
        let has_place = of_peer < self.per_peer && self.in_service.len() < self.in_service_max;
        let (reply, response) = oneshot::channel();
        if !has_place || !events.offer_request(E::event(peer, request.clone(), reply)) {
            Counters::add_one(&events.counters.requests_refused);
            tracing::debug!(%peer, protocol = E::NAME, "request refused");
            return;
        }
        self.in_service.insert(id, peer);
        let timeout = self.timeout;
        self.answers.push(Box::pin(async move {
            let response = tokio::time::timeout(timeout, response).await;
            let response = response.ok().and_then(Result::ok);
            (channel, response.map(|response| E::fit(&request, response)))
        }));
    }

    fn conclude(
        &mut self,
        protocol: &mut Protocol<E>,
        id: OutboundRequestId,
        result: Result<E::Response, NetError>,
    ) {
        if let Some((_, reply)) = self.sent.remove(&id) {
            // Nobody listens where the caller has given up.
            let _ = reply.send(result);
        }
        self.send_waiting(protocol);
    }

    fn send_waiting(&mut self, protocol: &mut Protocol<E>) {
        for _ in 0..self.waiting.len() {
            let Some((peer, request, reply)) = self.waiting.pop_front() else { return };
            if reply.is_closed() {
                continue;
            }
            let of_peer = self.sent.values().filter(|(other, _)| *other == peer).count();
            if of_peer < self.per_peer {
                let id = protocol.send_request(&peer, Ok(request));
                self.sent.insert(id, (peer, reply));
            } else {
                self.waiting.push_back((peer, request, reply));
            }
        }
    }
}

fn outbound_failure(peer: PeerId, failure: OutboundFailure) -> (NetError, Option<Offence>) {
    match failure {
        OutboundFailure::DialFailure => (NetError::Unreachable { peer }, None),
        OutboundFailure::Timeout => (NetError::Timeout { peer }, None),
        OutboundFailure::Io(e) if e.kind() == io::ErrorKind::InvalidData => {
            let error = NetError::BadAnswer { peer, reason: e.to_string() };
            (error, Some(Offence::BadAnswer))
        }
        OutboundFailure::Io(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
            let reason = "it closed the stream, so it is probably busy".to_owned();
            (NetError::Refused { peer, reason }, None)
        }
        other => (NetError::Refused { peer, reason: other.to_string() }, None),
    }
}
