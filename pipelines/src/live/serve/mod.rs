//! The HTTP server: the page, playlists and segments, metrics, and what the RTMP server asks.
