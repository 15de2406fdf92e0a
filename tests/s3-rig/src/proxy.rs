//! The proxy: passes requests on one by one, and misbehaves as planned.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader,
};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Semaphore;
use tokio::time::{sleep, sleep_until, timeout};

use crate::background::{Background, listen};
use crate::http::{Framing, Head, Op, Request, read_head, read_line};
use crate::log::{Entry, peak};
use crate::plan::{At, Decision, Fault, Plan, Progress};

const BUFFER_BYTES: usize = 64 * 1024;
/// Requests beyond these are served and counted, but not kept.
const MAX_ENTRIES: usize = 100_000;
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// A connection without a request for this long is closed.
const IDLE_LIMIT: Duration = Duration::from_secs(120);
/// A request that takes longer is cut off.
const REQUEST_LIMIT: Duration = Duration::from_secs(600);
/// How long a client may go on sending a body that nobody wants any more.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// A proxy on a free port of 127.0.0.1 in front of an S3 server, see [`Plan`].
///
/// The `Host` header goes through as the client sent it, so signatures stay good. What was
/// begun is cut off when this is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    _background: Background,
    addr: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    begun: Instant,
    state: Mutex<State>,
    over: Condvar,
}

#[derive(Debug)]
struct State {
    plan: Arc<Plan>,
    up: Option<Arc<Pace>>,
    down: Option<Arc<Pace>>,
    progress: Progress,
    entries: Vec<Entry>,
    counts: BTreeMap<Op, u64>,
    injected: BTreeMap<&'static str, u64>,
    /// Requests that go on, also those of earlier plans.
    going_on: usize,
    /// Goes up when the log is cleared.
    epoch: u64,
}

impl State {
    fn new(plan: Plan) -> Self {
        Self {
            up: plan.up.map(|rate| Arc::new(Pace::new(rate))),
            down: plan.down.map(|rate| Arc::new(Pace::new(rate))),
            plan: Arc::new(plan),
            progress: Progress::default(),
            entries: Vec::new(),
            counts: BTreeMap::new(),
            injected: BTreeMap::new(),
            going_on: 0,
            epoch: 0,
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FaultProxy {
    /// Starts a proxy in front of the server at `upstream`.
    ///
    /// # Errors
    /// If the port, the thread or the runtime cannot be had.
    pub fn start(upstream: SocketAddr, plan: Plan) -> Result<Self> {
        Self::start_on(0, upstream, plan)
    }

    /// The same on a port of one's choice; 0 for a free one.
    ///
    /// # Errors
    /// If the port, the thread or the runtime cannot be had.
    pub fn start_on(port: u16, upstream: SocketAddr, plan: Plan) -> Result<Self> {
        let connections = plan.connections;
        let shared = Arc::new(Shared {
            upstream,
            begun: Instant::now(),
            state: Mutex::new(State::new(plan)),
            over: Condvar::new(),
        });
        let (listener, addr) = listen(port)?;
        let given = Arc::clone(&shared);
        let background =
            Background::start("s3-rig-proxy", move || accept(listener, given, connections))?;
        Ok(Self {
            _background: background,
            addr,
            shared,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where it listens, as an `http://` URL without a slash at the end.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Follows another plan from the next request on; log and counters begin anew.
    pub fn set_plan(&self, plan: Plan) {
        let mut state = self.shared.state();
        let mut new = State::new(plan);
        new.going_on = state.going_on;
        new.epoch = state.epoch + 1;
        *state = new;
    }

    /// The requests so far, in the order of their arrival (the first 100,000).
    #[must_use]
    pub fn requests(&self) -> Vec<Entry> {
        self.shared.state().entries.clone()
    }

    /// How many requests were of this operation.
    #[must_use]
    pub fn count(&self, op: Op) -> u64 {
        self.shared.state().counts.get(&op).copied().unwrap_or(0)
    }

    /// How many requests there were, by operation.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Op, u64> {
        self.shared.state().counts.clone()
    }

    /// How many faults took effect, by [`Fault::kind`].
    #[must_use]
    pub fn faults(&self) -> BTreeMap<&'static str, u64> {
        self.shared.state().injected.clone()
    }

    /// How many faults took effect.
    #[must_use]
    pub fn injected(&self) -> u64 {
        self.shared.state().injected.values().sum()
    }

    /// The greatest number of requests of this operation that went on at the same time.
    #[must_use]
    pub fn peak(&self, op: Op) -> usize {
        peak(
            self.shared
                .state()
                .entries
                .iter()
                .filter(|entry| entry.op == op),
        )
    }

    /// How many uploads may have been begun without the client's learning of it, because the
    /// answer to CreateMultipartUpload was lost or late. No client can abort those: a test
    /// allows so many [`PendingUpload`](crate::PendingUpload)s without parts.
    #[must_use]
    pub fn lost_uploads(&self) -> usize {
        let lost = |entry: &&Entry| {
            entry.op == Op::CreateMultipartUpload
                && !matches!(
                    entry.fault,
                    None | Some("status" | "raw" | "reset-before" | "hang")
                )
        };
        self.shared.state().entries.iter().filter(lost).count()
    }

    /// Waits until no request goes on, so that the server's folder can be looked at; whether
    /// that came about within `limit`.
    #[must_use]
    pub fn wait_until_idle(&self, limit: Duration) -> bool {
        let waited = self
            .shared
            .over
            .wait_timeout_while(self.shared.state(), limit, |state| state.going_on > 0)
            .unwrap_or_else(PoisonError::into_inner);
        !waited.1.timed_out()
    }
}

async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>, connections: usize) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    let slots = Arc::new(Semaphore::new(connections));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        let Ok((socket, _)) = listener.accept().await else {
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        let _ = socket.set_nodelay(true);
        let (reader, writer) = socket.into_split();
        let client = Connection::new(reader, writer, Arc::clone(&shared));
        tokio::spawn(async move {
            client.serve().await;
            drop(slot);
        });
    }
}

/// A number of bytes a second, shared by all who ask.
#[derive(Debug)]
struct Pace {
    bytes_per_s: u64,
    next: Mutex<tokio::time::Instant>,
}

impl Pace {
    fn new(bytes_per_s: u64) -> Self {
        Self {
            bytes_per_s: bytes_per_s.max(1),
            next: Mutex::new(tokio::time::Instant::now()),
        }
    }

    /// As much as should be moved at once: 20 ms' worth.
    fn piece(&self) -> usize {
        usize::try_from(self.bytes_per_s / 50)
            .unwrap_or(BUFFER_BYTES)
            .clamp(1, BUFFER_BYTES)
    }

    async fn wait(&self, bytes: usize) {
        let turn = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            // Late wake-ups are made up for, long pauses are not.
            let earliest = tokio::time::Instant::now()
                .checked_sub(Duration::from_millis(20))
                .unwrap_or(*next);
            let turn = (*next).max(earliest);
            *next = turn + Duration::from_secs_f64(bytes as f64 / self.bytes_per_s as f64);
            *next
        };
        sleep_until(turn).await;
    }
}

/// Why a body did not get through.
#[derive(Debug)]
enum Broken {
    Reading,
    Writing,
    /// As planned.
    Cut,
}

fn reading(_: io::Error) -> Broken {
    Broken::Reading
}

/// A body on its way, and what is to happen to it.
#[derive(Debug, Default)]
struct Passage {
    moved: u64,
    /// At this byte, the body is cut off, or else the byte is changed.
    at: Option<u64>,
    cuts: bool,
    happened: bool,
    paces: Vec<Arc<Pace>>,
}

impl Passage {
    fn cut(at: Option<u64>) -> Self {
        Self {
            at,
            cuts: true,
            ..Self::default()
        }
    }

    fn flip(at: Option<u64>) -> Self {
        Self {
            at,
            ..Self::default()
        }
    }

    /// Moves a body that is framed like this; what is `None` is read and forgotten.
    async fn through<R, W>(
        &mut self,
        from: &mut R,
        mut to: Option<&mut W>,
        framing: Framing,
    ) -> Result<(), Broken>
    where
        R: AsyncBufRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        match framing {
            Framing::Length(length) => self.data(from, &mut to, Some(length)).await?,
            Framing::UntilClose => self.data(from, &mut to, None).await?,
            Framing::Chunked => loop {
                let size = line(from, &mut to).await?;
                let size = String::from_utf8_lossy(&size);
                let size = size.split(';').next().unwrap_or_default().trim();
                let size = u64::from_str_radix(size, 16).map_err(|_| Broken::Reading)?;
                if size == 0 {
                    // Trailers, then an empty line.
                    while line(from, &mut to).await?.trim_ascii() != b"" {}
                    break;
                }
                self.data(from, &mut to, Some(size)).await?;
                line(from, &mut to).await?;
            },
        }
        if let Some(to) = to {
            to.flush().await.map_err(|_| Broken::Writing)?;
        }
        Ok(())
    }

    async fn data<R, W>(
        &mut self,
        from: &mut R,
        to: &mut Option<&mut W>,
        length: Option<u64>,
    ) -> Result<(), Broken>
    where
        R: AsyncBufRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut left = length.unwrap_or(u64::MAX);
        while left > 0 {
            let available = from.fill_buf().await.map_err(reading)?;
            if available.is_empty() {
                return match length {
                    None => Ok(()),
                    Some(_) => Err(Broken::Reading),
                };
            }
            let mut taken = available
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            for pace in &self.paces {
                taken = taken.min(pace.piece());
            }
            for pace in &self.paces {
                pace.wait(taken).await;
            }
            let mut piece = &available[..taken];
            let mut changed = Vec::new();
            let mut cut = false;
            if let Some(at) = self.at
                && (self.moved..self.moved + taken as u64).contains(&at)
            {
                let at = usize::try_from(at - self.moved).unwrap_or(0);
                self.happened = true;
                if self.cuts {
                    piece = &piece[..at];
                    cut = true;
                } else {
                    changed.extend_from_slice(piece);
                    changed[at] ^= 0x20;
                    piece = &changed;
                }
            }
            if let Some(to) = to {
                to.write_all(piece).await.map_err(|_| Broken::Writing)?;
            }
            self.moved += piece.len() as u64;
            if cut {
                return Err(Broken::Cut);
            }
            from.consume(taken);
            left -= taken as u64;
        }
        Ok(())
    }
}

/// Passes a line on and returns it.
async fn line<R, W>(from: &mut R, to: &mut Option<&mut W>) -> Result<Vec<u8>, Broken>
where
    R: AsyncBufRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut text = Vec::new();
    read_line(from, &mut text, 8192).await.map_err(reading)?;
    if !text.ends_with(b"\n") {
        return Err(Broken::Reading);
    }
    if let Some(to) = to {
        to.write_all(&text).await.map_err(|_| Broken::Writing)?;
    }
    Ok(text)
}

/// What becomes of the client's connection.
#[derive(Debug, PartialEq)]
enum Next {
    Again,
    Close,
    Reset,
}

/// An entry of the log that is being written; over when this is dropped.
struct Note {
    shared: Arc<Shared>,
    epoch: u64,
    at: usize,
    status: Option<u16>,
    fault: Option<&'static str>,
    request_bytes: u64,
    response_bytes: u64,
}

impl Note {
    fn begin(shared: &Arc<Shared>, request: &Request) -> (Self, Option<Decision>, Arc<Plan>) {
        let begun = shared.begun.elapsed();
        let mut state = shared.state();
        let state = &mut *state;
        let plan = Arc::clone(&state.plan);
        let decision = state.progress.decide(&plan, request);
        *state.counts.entry(request.op).or_default() += 1;
        state.going_on += 1;
        let at = state.entries.len();
        if at < MAX_ENTRIES {
            state.entries.push(Entry::new(request, begun));
        }
        let note = Self {
            shared: Arc::clone(shared),
            epoch: state.epoch,
            at,
            status: None,
            fault: None,
            request_bytes: 0,
            response_bytes: 0,
        };
        (note, decision, plan)
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        let ended = self.shared.begun.elapsed();
        let mut state = self.shared.state();
        state.going_on -= 1;
        if state.epoch == self.epoch {
            if let Some(kind) = self.fault {
                *state.injected.entry(kind).or_default() += 1;
            }
            if let Some(entry) = state.entries.get_mut(self.at) {
                entry.ended = Some(ended);
                entry.status = self.status;
                entry.fault = self.fault;
                entry.request_bytes = self.request_bytes;
                entry.response_bytes = self.response_bytes;
            }
        }
        drop(state);
        self.shared.over.notify_all();
    }
}

struct Upstream {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Upstream {
    async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let socket = timeout(CONNECT_LIMIT, TcpStream::connect(addr)).await??;
        socket.set_nodelay(true)?;
        let (reader, writer) = socket.into_split();
        Ok(Self {
            reader: BufReader::with_capacity(BUFFER_BYTES, reader),
            writer,
        })
    }

    /// Whether the server has closed it, or said something that nobody asked for.
    fn is_stale(&self) -> bool {
        let mut byte = [0];
        !self.reader.buffer().is_empty()
            || !matches!(
                self.reader.get_ref().try_read(&mut byte),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock
            )
    }
}

/// A client's connection, and the one to the server that goes with it.
struct Connection {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    upstream: Option<Upstream>,
    shared: Arc<Shared>,
}

impl Connection {
    fn new(reader: OwnedReadHalf, writer: OwnedWriteHalf, shared: Arc<Shared>) -> Self {
        Self {
            reader: BufReader::with_capacity(BUFFER_BYTES, reader),
            writer,
            upstream: None,
            shared,
        }
    }

    async fn serve(mut self) {
        let mut last = None;
        let next = loop {
            let head = match timeout(IDLE_LIMIT, read_head(&mut self.reader)).await {
                Ok(Ok(Some(head))) => head,
                Ok(Ok(None)) | Err(_) => break Next::Close,
                Ok(Err(_)) => break self.refuse().await,
            };
            let Ok(request) = Request::parse(&head) else {
                break self.refuse().await;
            };
            let (mut note, decision, plan) = Note::begin(&self.shared, &request);
            let work = self.exchange(&head, &request, decision, &plan, &mut note);
            let next = timeout(REQUEST_LIMIT, work).await.unwrap_or(Next::Reset);
            if next != Next::Again {
                last = Some(note);
                break next;
            }
        };
        if next == Next::Reset {
            let socket: &TcpStream = self.writer.as_ref();
            let _ = socket.set_zero_linger();
            // Dropped, it would close properly first.
            self.writer.forget();
            drop(self.reader);
            return;
        }
        let _ = self.writer.shutdown().await;
        drop(last);
        // Without this, unread bytes would turn the close into a reset that can destroy the
        // answer on its way.
        let mut rest = vec![0; BUFFER_BYTES];
        let _ = timeout(DRAIN_LIMIT, async {
            while matches!(self.reader.read(&mut rest).await, Ok(1..)) {}
        })
        .await;
    }

    async fn refuse(&mut self) -> Next {
        let text = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let _ = self.writer.write_all(text.as_bytes()).await;
        Next::Close
    }

    async fn exchange(
        &mut self,
        head: &Head,
        request: &Request,
        decision: Option<Decision>,
        plan: &Plan,
        note: &mut Note,
    ) -> Next {
        sleep_unless_zero(plan.latency).await;
        match decision.as_ref().map(|decision| &decision.fault) {
            Some(Fault::Answer {
                status,
                code,
                headers,
            }) => {
                note.fault = Some("status");
                note.status = Some(*status);
                return self.answer(request, note, *status, code, headers).await;
            }
            Some(Fault::Raw(bytes)) => {
                note.fault = Some("raw");
                if self.swallow(request, note).await.is_ok() {
                    let _ = self.writer.write_all(bytes).await;
                }
                return Next::Close;
            }
            Some(Fault::ResetBefore) => {
                note.fault = Some("reset-before");
                return Next::Reset;
            }
            Some(Fault::Hang) => {
                note.fault = Some("hang");
                if self.swallow(request, note).await.is_err() {
                    return Next::Close;
                }
                return self.hang(plan).await;
            }
            Some(Fault::Delay(time)) => {
                note.fault = Some("delay");
                sleep_unless_zero(*time).await;
            }
            _ => {}
        }
        self.forward(head, request, decision.as_ref(), plan, note)
            .await
    }

    async fn forward(
        &mut self,
        head: &Head,
        request: &Request,
        decision: Option<&Decision>,
        plan: &Plan,
        note: &mut Note,
    ) -> Next {
        let fault = decision.map(|decision| &decision.fault);
        let kept = self.upstream.take().filter(|upstream| !upstream.is_stale());
        let mut upstream = match kept {
            Some(upstream) => upstream,
            None => match Upstream::connect(self.shared.upstream).await {
                Ok(upstream) => upstream,
                Err(_) => return Next::Close,
            },
        };
        if upstream.writer.write_all(&head.raw).await.is_err() {
            return Next::Close;
        }

        let place = |at: &At| decision.and_then(|d| d.position(*at, request.framing));
        let mut up = match fault {
            Some(Fault::ResetInRequest(at) | Fault::HangInRequest(at)) => Passage::cut(place(at)),
            Some(Fault::FlipInRequest(at)) => Passage::flip(place(at)),
            _ => Passage::default(),
        };
        let mut answer = Answer::default();
        {
            let state = self.shared.state();
            up.paces.extend(state.up.clone());
            answer.paces.extend(state.down.clone());
        }
        if let Some(Fault::Throttle(rate)) = fault {
            note.fault = Some("throttle");
            up.paces.push(Arc::new(Pace::new(*rate)));
            answer.paces.push(Arc::new(Pace::new(*rate)));
        }

        let (sent, answered) = {
            let Upstream { reader, writer } = &mut upstream;
            let sending = up.through(&mut self.reader, Some(writer), request.framing);
            let answering = answer.relay(reader, &mut self.writer, &request.method, decision);
            let (mut sending, mut answering) = (Box::pin(sending), Box::pin(answering));
            let mut sent = None;
            loop {
                tokio::select! {
                    // In this order: an answer that is there at once must not hide that the
                    // request was sent to its end.
                    biased;
                    result = &mut sending, if sent.is_none() => {
                        // A server that closes in the middle may have said why.
                        let goes_on = matches!(result, Ok(()) | Err(Broken::Writing));
                        sent = Some(result);
                        if !goes_on {
                            break (sent, None);
                        }
                    }
                    result = &mut answering => break (sent, Some(result)),
                }
            }
        };
        note.request_bytes = up.moved;
        note.response_bytes = answer.moved;
        note.status = answer.status;
        if let Some(fault) = fault
            && (up.happened || answer.happened)
        {
            note.fault = Some(fault.kind());
        }

        match (sent, answered) {
            (Some(Err(Broken::Cut)), _) => {
                if matches!(fault, Some(Fault::HangInRequest(_))) {
                    sleep(plan.hang_limit).await;
                }
                Next::Reset
            }
            (_, Some(Err(Broken::Cut))) => match fault {
                Some(Fault::HangInResponse(_)) => self.hang(plan).await,
                Some(Fault::Truncate(_)) => Next::Close,
                _ => Next::Reset,
            },
            (Some(Ok(())), Some(Ok(reusable))) => {
                if reusable && !request.closes {
                    self.upstream = Some(upstream);
                    Next::Again
                } else {
                    Next::Close
                }
            }
            // An answer before the request's end, or one side is gone.
            _ => Next::Close,
        }
    }

    /// Reads the request's body for nothing.
    async fn swallow(&mut self, request: &Request, note: &mut Note) -> Result<(), Broken> {
        let mut body = Passage::default();
        let nowhere: Option<&mut OwnedWriteHalf> = None;
        if request.expects {
            let go_on = self
                .writer
                .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
                .await;
            go_on.map_err(|_| Broken::Writing)?;
        }
        let result = body
            .through(&mut self.reader, nowhere, request.framing)
            .await;
        note.request_bytes = body.moved;
        result
    }

    /// Says nothing until the client goes away or has waited for long enough.
    async fn hang(&mut self, plan: &Plan) -> Next {
        let gone = async {
            if !matches!(self.reader.fill_buf().await, Ok([]) | Err(_)) {
                // It sends something more; nobody listens.
                std::future::pending::<()>().await;
            }
        };
        match timeout(plan.hang_limit, gone).await {
            Ok(()) => Next::Close,
            Err(_) => Next::Reset,
        }
    }

    async fn answer(
        &mut self,
        request: &Request,
        note: &mut Note,
        status: u16,
        code: &str,
        headers: &[(String, String)],
    ) -> Next {
        if self.swallow(request, note).await.is_err() {
            return Next::Close;
        }
        let id = format!("RIG{:013}", note.at);
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
             <Message>As planned: {code}</Message><Resource>{}</Resource>\
             <RequestId>{id}</RequestId><HostId>s3-rig</HostId></Error>",
            request.path.replace('&', "&amp;").replace('<', "&lt;")
        );
        let mut text = format!(
            "HTTP/1.1 {status} {code}\r\nx-amz-request-id: {id}\r\nContent-Type: application/xml\r\n"
        );
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        if request.method != "HEAD" {
            note.response_bytes = body.len() as u64;
            text.push_str(&body);
        }
        match self.writer.write_all(text.as_bytes()).await {
            Ok(()) if !request.closes => Next::Again,
            _ => Next::Close,
        }
    }
}

async fn sleep_unless_zero(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

/// The server's answer on its way.
#[derive(Debug, Default)]
struct Answer {
    paces: Vec<Arc<Pace>>,
    status: Option<u16>,
    moved: u64,
    happened: bool,
}

impl Answer {
    /// Passes it on; whether the server's connection can be used again.
    async fn relay(
        &mut self,
        from: &mut BufReader<OwnedReadHalf>,
        to: &mut OwnedWriteHalf,
        method: &str,
        decision: Option<&Decision>,
    ) -> Result<bool, Broken> {
        let head = loop {
            let head = read_head(from).await.map_err(reading)?;
            let head = head.ok_or(Broken::Reading)?;
            if !(100..200).contains(&head.status().map_err(reading)?) {
                break head;
            }
            to.write_all(&head.raw).await.map_err(|_| Broken::Writing)?;
        };
        let (framing, reusable) = head.response(method).map_err(reading)?;
        let fault = decision.map(|decision| &decision.fault);
        let place = |at: &At| decision.and_then(|d| d.position(*at, framing));
        let mut body = match fault {
            Some(Fault::ResetInResponse(at) | Fault::HangInResponse(at) | Fault::Truncate(at)) => {
                Passage::cut(place(at))
            }
            Some(Fault::FlipInResponse(at)) => Passage::flip(place(at)),
            _ => Passage::default(),
        };
        if matches!(fault, Some(Fault::ResetAfter)) {
            let nowhere: Option<&mut OwnedWriteHalf> = None;
            body.through(from, nowhere, framing).await?;
            self.happened = true;
            return Err(Broken::Cut);
        }
        body.paces = std::mem::take(&mut self.paces);
        self.status = head.status().ok();
        let sent = if let Some(Fault::Header(name, value)) = fault {
            self.happened = true;
            to.write_all(&head.with_header(name, value.as_deref()))
                .await
        } else {
            to.write_all(&head.raw).await
        };
        sent.map_err(|_| Broken::Writing)?;
        let result = body.through(from, Some(to), framing).await;
        self.moved = body.moved;
        self.happened |= body.happened;
        result?;
        Ok(reusable)
    }
}
