'use strict';
// The player: asks the server what there is once a second, plays it, and tries again whatever happens.
(() => {
  const POLL_MS = 1000;
  const ANSWER_MS = 4000;
  const RETRY_MS = 2000;
  // No new picture for this long although the stream is live: begin anew.
  const STUCK_MS = 12000;

  const at = (id) => document.getElementById(id);
  const video = at('video');
  // What hls.js complained of last, for whoever looks into it with the browser's tools.
  const ERRORS_KEPT = 50;
  const player = { hls: null, video, errors: [] };
  window.player = player;

  let streams = [];
  let base = '/hls/';
  // Server's clock minus ours, so that the delay is right when they differ.
  let clockOffsetMs = 0;
  let reachable = true;
  let chosen = decodeURIComponent(location.hash.slice(1));
  let loaded = '';
  let retryAt = 0;
  let advancedAt = performance.now();
  let lastTime = 0;
  let recoveries = [];

  const current = () => streams.find((s) => s.name === chosen);

  function text(id, value, mood) {
    const element = at(id);
    if (element.textContent !== value) element.textContent = value;
    if (mood) element.dataset.mood = mood;
    else delete element.dataset.mood;
  }

  function notice(title, more, busy) {
    at('notice').hidden = !title;
    video.controls = !title;
    if (!title) return;
    text('notice-title', title);
    text('notice-text', more || '');
    at('spinner').hidden = !busy;
  }

  // --- playing ---------------------------------------------------------------

  function close() {
    if (player.hls) player.hls.destroy();
    player.hls = null;
    loaded = '';
    video.removeAttribute('src');
  }

  function again() {
    close();
    retryAt = performance.now() + RETRY_MS;
  }

  function open(stream) {
    close();
    const url = base + stream.playlist.split('/').map(encodeURIComponent).join('/');
    loaded = stream.name;
    lastTime = 0;
    advancedAt = performance.now();
    if (!window.Hls || !Hls.isSupported()) {
      // Safari on telephones plays it by itself.
      if (video.canPlayType('application/vnd.apple.mpegurl')) video.src = url;
      else notice('This browser cannot play the stream', 'It has no Media Source Extensions.', false);
      return;
    }
    const hls = new Hls({
      lowLatencyMode: true,
      liveDurationInfinity: true,
      maxLiveSyncPlaybackRate: 1.1,
      backBufferLength: 30,
    });
    player.hls = hls;
    hls.on(Hls.Events.MANIFEST_PARSED, () => {
      listRenditions();
      play();
    });
    hls.on(Hls.Events.ERROR, (_event, data) => failed(hls, data));
    hls.attachMedia(video);
    hls.loadSource(url);
  }

  function play() {
    // A browser that wants a click first shows its own button.
    const started = video.play();
    if (started) started.catch(() => {});
  }

  function failed(hls, data) {
    player.errors.push({ type: data.type, details: data.details, fatal: data.fatal });
    if (player.errors.length > ERRORS_KEPT) player.errors.shift();
    if (!data.fatal || hls !== player.hls) return;
    const now = performance.now();
    recoveries = recoveries.filter((t) => now - t < 20000);
    if (data.type === Hls.ErrorTypes.MEDIA_ERROR && recoveries.length < 2) {
      recoveries.push(now);
      hls.recoverMediaError();
    } else {
      again();
    }
  }

  function over() {
    const level = player.hls && player.hls.levels && player.hls.levels[player.hls.currentLevel];
    return Boolean(level && level.details && !level.details.live);
  }

  // Called once a second.
  function attend() {
    const stream = current();
    const now = performance.now();
    if (video.currentTime !== lastTime || video.paused) {
      lastTime = video.currentTime;
      advancedAt = now;
    }
    const stuck = now - advancedAt > STUCK_MS;
    if (!stream) {
      if (loaded) close();
    } else if (loaded && loaded !== stream.name) {
      retryAt = 0;
      close();
    } else if (loaded && stream.phase === 'live' && (stuck || (over() && video.ended))) {
      again();
    }
    const playable = stream && (stream.phase === 'live' || stream.phase === 'ended');
    if (playable && !loaded && now >= retryAt) open(stream);
    tell(stream, now);
  }

  function tell(stream, now) {
    const shows = video.readyState >= 2 && now - advancedAt < 3000 && !video.ended;
    if (!reachable) notice(shows ? '' : 'The server does not answer', 'Trying again.', true);
    else if (!streams.length) notice('No streams yet', 'Waiting for the first publisher.', true);
    else if (!stream) notice('There is no such stream', chosen, false);
    else if (shows) notice('');
    else if (stream.phase === 'failed') notice('The stream has failed', stream.error || '', false);
    else if (stream.phase === 'ended') notice('The stream has ended', '', false);
    else if (stream.phase === 'waiting') notice('Waiting for the publisher', 'It goes on by itself.', true);
    else if (video.paused && video.readyState >= 2) notice('');
    else notice('Loading', '', true);
  }

  // --- what is shown ---------------------------------------------------------

  function listStreams() {
    const nav = at('streams');
    const names = streams.map((s) => s.name).join('\n');
    if (nav.dataset.names !== names) {
      nav.dataset.names = names;
      nav.replaceChildren(...streams.map((s) => {
        const button = document.createElement('button');
        button.type = 'button';
        button.textContent = s.name;
        button.addEventListener('click', () => choose(s.name));
        return button;
      }));
    }
    streams.forEach((s, index) => {
      const button = nav.children[index];
      button.dataset.phase = s.phase;
      button.title = s.phase;
      button.setAttribute('aria-current', String(s.name === chosen));
    });
    nav.hidden = streams.length < 2;
  }

  function choose(name) {
    chosen = name;
    history.replaceState(null, '', '#' + encodeURIComponent(name));
    refresh();
  }

  function levelName(level) {
    const rate = level.bitrate ? ` · ${(level.bitrate / 1e6).toFixed(1)} Mb/s` : '';
    return `${level.height || '?'}p${rate}`;
  }

  function listRenditions() {
    const select = at('rendition');
    const option = (value, label) => {
      const element = document.createElement('option');
      element.value = String(value);
      element.textContent = label;
      return element;
    };
    const levels = player.hls ? player.hls.levels : [];
    select.replaceChildren(option(-1, 'auto'), ...levels.map((l, i) => option(i, levelName(l))).reverse());
    select.value = '-1';
  }

  const seconds = (value, digits = 1) => (Number.isFinite(value) ? `${value.toFixed(digits)} s` : '–');
  const share = (part, all) => (all > 0 ? `${((100 * part) / all).toFixed(part && part / all < 0.01 ? 2 : 1)} %` : '–');

  function delay() {
    const date = player.hls && player.hls.playingDate;
    return date ? (Date.now() + clockOffsetMs - date.getTime()) / 1000 : NaN;
  }

  function buffered() {
    for (let i = 0; i < video.buffered.length; i += 1) {
      if (video.buffered.start(i) <= video.currentTime + 0.1 && video.currentTime <= video.buffered.end(i)) {
        return video.buffered.end(i) - video.currentTime;
      }
    }
    return NaN;
  }

  function show() {
    const stream = current();
    const hls = player.hls;
    const playing = Boolean(loaded) && video.readyState >= 2;
    const live = stream && stream.phase === 'live';
    const wait = playing ? delay() : NaN;
    text('delay', seconds(wait), wait > 30 ? 'warn' : '');
    text('latency', seconds(hls && playing ? hls.latency : NaN));
    text('buffer', seconds(playing ? buffered() : NaN));
    const level = hls && hls.levels && hls.levels[hls.currentLevel];
    const automatic = hls && hls.autoLevelEnabled ? ' (auto)' : '';
    text('playing', playing && video.videoWidth ? `${video.videoWidth}×${video.videoHeight}${level ? automatic : ''}` : '–');
    const quality = video.getVideoPlaybackQuality ? video.getVideoPlaybackQuality() : null;
    text('skipped', playing && quality ? String(quality.droppedVideoFrames) : '–');
    at('badge').dataset.phase = stream ? stream.phase : 'waiting';
    text('badge', stream ? stream.phase : 'waiting');
    text('title', stream ? stream.name : '');
    text('fps', live ? `${stream.fps.toFixed(1)} fps` : '–');
    text('source', stream && stream.width ? `${stream.width}×${stream.height}${stream.audio ? '' : ', no sound'}` : '–');
    text('ready', live ? seconds(stream.delay_s) : '–');
    text('model', stream && stream.model ? stream.model : '–');
    text('p95', stream && stream.inference_p95_s ? `${(stream.inference_p95_s * 1000).toFixed(1)} ms` : '–');
    text('fallback', stream ? share(stream.fallback_frames, stream.frames_out) + (stream.fallback ? ', now' : '') : '–',
      stream && stream.fallback ? 'warn' : '');
    text('dropped', stream ? String(stream.dropped_frames) : '–', stream && stream.dropped_frames ? 'warn' : '');
    text('breaks', stream ? String(stream.discontinuities) : '–');
    const compare = Boolean(stream && stream.compare);
    at('both').setAttribute('aria-pressed', String(compare));
    at('after').setAttribute('aria-pressed', String(!compare));
    at('both').disabled = !live;
    at('after').disabled = !live;
    at('halves').hidden = !(compare && playing);
    // Of a stream that has failed, the screen itself says why.
    const complaint = stream && stream.phase !== 'failed' ? stream.error : null;
    at('error').hidden = !complaint;
    if (complaint) text('error', complaint);
  }

  // --- the server ------------------------------------------------------------

  async function ask(path, options = {}) {
    const answer = await fetch(path, { cache: 'no-store', signal: AbortSignal.timeout(ANSWER_MS), ...options });
    const body = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(body.error || `the server says ${answer.status}`);
    return body;
  }

  async function refresh() {
    try {
      const before = Date.now();
      const body = await ask('/api/streams');
      clockOffsetMs = body.now_ms - (before + Date.now()) / 2;
      streams = body.streams;
      base = body.base;
      reachable = true;
    } catch {
      reachable = false;
    }
    if (!chosen && streams.length) chosen = (streams.find((s) => s.phase === 'live') || streams[0]).name;
    listStreams();
    attend();
    show();
  }

  async function compare(on) {
    const stream = current();
    if (!stream) return;
    try {
      await ask(`/api/streams/${encodeURIComponent(stream.name)}/compare`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', 'X-Requested-With': 'gst-neural' },
        body: JSON.stringify({ on }),
      });
      stream.compare = on;
      show();
    } catch (error) {
      text('error', `Before and after cannot be switched: ${error.message}`);
      at('error').hidden = false;
    }
  }

  at('after').addEventListener('click', () => compare(false));
  at('both').addEventListener('click', () => compare(true));
  at('rendition').addEventListener('change', (event) => {
    if (player.hls) player.hls.nextLevel = Number(event.target.value);
  });
  at('edge').addEventListener('click', () => {
    const edge = player.hls && player.hls.liveSyncPosition;
    if (edge) video.currentTime = edge;
    play();
  });
  window.addEventListener('hashchange', () => {
    chosen = decodeURIComponent(location.hash.slice(1));
    refresh();
  });

  // One after the other, however slow the answers are.
  const round = () => refresh().finally(() => setTimeout(round, POLL_MS));
  round();
})();
