//! Addresses of publishers: what of them is secret, and where they are waited for.

/// What of a URI is nobody's business: the key of `rtmp://HOST/APP/KEY`, a password, and what SRT has
/// for that.
pub fn secrets(uri: &str) -> Vec<&str> {
    let rest = uri.split_once("://").map_or("", |(_, rest)| rest);
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let password = place
        .split('/')
        .next()
        .and_then(|host| host.rsplit_once('@')?.0.split_once(':'))
        .map(|(_, password)| password);
    let of_query = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .filter(|(name, _)| ["passphrase", "streamid"].contains(name))
        .map(|(_, value)| value);
    // The whole of it before its parts.
    let keys = [
        rest.splitn(3, '/').nth(2),
        place.splitn(3, '/').nth(2),
        password,
    ];
    keys.into_iter()
        .flatten()
        .chain(of_query)
        // What is shorter would be found in words, and is no secret.
        .filter(|secret| secret.len() >= 4)
        .collect()
}

/// An SRT address without a host waits for a sender, GStreamer would do so on every address of the
/// machine: `srt://0.0.0.0:PORT?mode=listener` has to be said.
pub fn on_loopback(uri: &str) -> String {
    let without_host = uri.starts_with("srt://:") && !uri.contains("localaddress=");
    match (without_host, uri.contains('?')) {
        (false, _) => uri.to_owned(),
        (true, true) => format!("{uri}&localaddress=127.0.0.1"),
        (true, false) => format!("{uri}?localaddress=127.0.0.1"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_a_uri_are_known() {
        for (uri, expected) in [
            ("rtmp://h:1935/live/the-key", vec!["the-key", "the-key"]),
            ("rtmp://h/live/key1?auth=x", vec!["key1?auth=x", "key1"]),
            ("rtmp://me:word@h/live/key1", vec!["key1", "key1", "word"]),
            (
                "srt://h:9?mode=caller&passphrase=long-enough&latency=2000",
                vec!["long-enough"],
            ),
            ("srt://h:9?streamid=publish/cam", vec!["publish/cam"]),
            ("rtmp://h/live/key", vec![]),
            ("srt://:9?mode=listener", vec![]),
            ("file", vec![]),
        ] {
            assert_eq!(secrets(uri), expected, "{uri}");
        }
    }

    #[test]
    fn waiting_for_a_sender_is_on_loopback_unless_it_says_otherwise() {
        let local = "localaddress=127.0.0.1";
        assert_eq!(on_loopback("srt://:9"), format!("srt://:9?{local}"));
        let listener = "srt://:9?mode=listener";
        assert_eq!(on_loopback(listener), format!("{listener}&{local}"));
        for said in [
            "srt://0.0.0.0:9?mode=listener",
            "srt://192.0.2.1:9?mode=caller",
            "srt://:9?mode=listener&localaddress=192.0.2.7",
        ] {
            assert_eq!(on_loopback(said), said);
        }
    }
}
