//! HLS as RFC 8216 (and its second edition's draft, for parts) describes it: segments, playlists, and where they are kept.
