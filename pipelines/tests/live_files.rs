//! Playlists and segments from the HTTP server, asked for by players and by attackers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod live_support;

use live_support::{get, request, rig};
use std::path::Path;
use std::time::{Duration, Instant};

#[test]
fn files_come_with_their_type_whole_or_in_ranges() {
    let rig = rig();
    let segment: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
    rig.write("cam/720p/00001.ts", &segment);
    rig.write("cam/720p/index.m3u8", b"#EXTM3U\n");
    let whole = get(rig.at, "/hls/cam/720p/00001.ts");
    assert_eq!(
        (whole.code, whole.header("content-type")),
        (200, "video/mp2t")
    );
    assert_eq!(whole.header("access-control-allow-origin"), "*");
    assert!(whole.header("cache-control").contains("max-age"));
    assert!(whole.body == segment);
    let playlist = get(rig.at, "/hls/cam/720p/index.m3u8");
    assert_eq!(
        playlist.header("content-type"),
        "application/vnd.apple.mpegurl"
    );
    assert_eq!(playlist.header("cache-control"), "no-cache");
    let ask = |header: &str| request(rig.at, "GET", "/hls/cam/720p/00001.ts", &[header], "");
    let part = ask("Range: bytes=100000-199999");
    assert_eq!(
        (part.code, part.header("content-range")),
        (206, "bytes 100000-199999/300000")
    );
    assert!(part.body == segment[100_000..200_000]);
    assert!(ask("Range: bytes=-5").body == segment[299_995..]);
    let none = ask("Range: bytes=300000-");
    assert_eq!(
        (none.code, none.header("content-range")),
        (416, "bytes */300000")
    );
    let tag = whole.header("etag");
    let known = ask(&format!("If-None-Match: {tag}"));
    assert_eq!((known.code, known.body.len()), (304, 0));
    let other = request(
        rig.at,
        "GET",
        "/hls/cam/720p/00001.ts",
        &["Range: bytes=0-1", "If-Range: \"other\""],
        "",
    );
    assert_eq!((other.code, other.body.len()), (200, 300_000));
    let head = request(rig.at, "HEAD", "/hls/cam/720p/00001.ts", &[], "");
    assert_eq!(
        (head.code, head.header("content-length"), head.body.len()),
        (200, "300000", 0)
    );
    assert_eq!(
        request(rig.at, "OPTIONS", "/hls/cam/720p/00001.ts", &[], "").code,
        204
    );
}

#[test]
fn nothing_outside_the_folder_is_given_out() {
    let rig = rig();
    let secret = tempfile::tempdir().unwrap();
    std::fs::write(secret.path().join("secret.ts"), "topsecret").unwrap();
    rig.write("cam/keys.txt", b"topsecret");
    rig.write("cam/.hidden.ts", b"topsecret");
    rig.write("cam/good.ts", b"good");
    let link = |from: &Path, to: &str| {
        std::os::unix::fs::symlink(from, rig.out.path().join(to)).unwrap();
    };
    link(&secret.path().join("secret.ts"), "cam/link.ts");
    link(secret.path(), "cam/dir");
    link(&rig.out.path().join("cam/good.ts"), "cam/inner.ts");
    std::process::Command::new("mkfifo")
        .arg(rig.out.path().join("cam/pipe.ts"))
        .status()
        .unwrap();
    let name = secret.path().file_name().unwrap().to_str().unwrap();
    for path in [
        format!("/hls/../{name}/secret.ts"),
        format!("/hls/cam/../../{name}/secret.ts"),
        format!("/hls/%2e%2e/{name}/secret.ts"),
        format!("/hls/..%2f{name}%2fsecret.ts"),
        format!("/hls/cam/..%5c..%5c{name}%5csecret.ts"),
        format!("/hls/%252e%252e/{name}/secret.ts"),
        format!("/hls/{}/secret.ts", secret.path().display()),
        format!("/hls//{}/secret.ts", secret.path().display()),
        "/hls/cam/link.ts".into(),
        "/hls/cam/dir/secret.ts".into(),
        "/hls/cam/pipe.ts".into(),
        "/hls/cam/keys.txt".into(),
        "/hls/cam/.hidden.ts".into(),
        "/hls/cam/good.ts%00".into(),
        "/hls/cam/%ff.ts".into(),
        "/hls/cam/".into(),
        "/hls/cam".into(),
        "/hls/".into(),
        "/hls".into(),
        "/assets/".into(),
        "/assets/../mod.rs".into(),
    ] {
        let answer = get(rig.at, &path);
        assert!([400, 404].contains(&answer.code), "{path}: {}", answer.code);
        assert!(!answer.text().contains("topsecret"), "{path}");
    }
    assert_eq!(get(rig.at, "/hls/cam/inner.ts").text(), "good");
}

#[test]
fn a_playlist_request_waits_for_its_part() {
    let rig = rig();
    let path = "cam/720p/index.m3u8";
    rig.write(path, b"#EXTM3U\n#EXT-X-TARGETDURATION:1\nold\n");
    let moves = rig.moves(path, (10, 1));
    let url = |query: &str| format!("/hls/{path}?{query}");
    // What is there already does not wait.
    let begun = Instant::now();
    assert!(get(rig.at, &url("_HLS_msn=9")).text().contains("old"));
    assert!(
        get(rig.at, &url("_HLS_msn=10&_HLS_part=0&_HLS_skip=YES"))
            .text()
            .contains("old")
    );
    assert!(begun.elapsed() < Duration::from_secs(1));
    for nonsense in [
        "_HLS_msn=12",
        "_HLS_part=1",
        "_HLS_msn=x",
        "_HLS_msn=18446744073709551615",
    ] {
        assert_eq!(get(rig.at, &url(nonsense)).code, 400, "{nonsense}");
    }
    let waits = |query: &'static str| {
        let (at, url) = (rig.at, url(query));
        std::thread::spawn(move || get(at, &url))
    };
    let (part, whole) = (waits("_HLS_msn=10&_HLS_part=1"), waits("_HLS_msn=10"));
    std::thread::sleep(Duration::from_millis(300));
    assert!(!part.is_finished() && !whole.is_finished());
    rig.write(path, b"#EXTM3U\n#EXT-X-TARGETDURATION:1\nnew part\n");
    moves.send((10, 2)).unwrap();
    assert!(part.join().unwrap().text().contains("new part"));
    assert!(!whole.is_finished());
    rig.write(path, b"#EXTM3U\n#EXT-X-TARGETDURATION:1\nnew segment\n");
    moves.send((11, 0)).unwrap();
    assert!(whole.join().unwrap().text().contains("new segment"));
    // Nothing comes any more: three target durations.
    let begun = Instant::now();
    assert_eq!(get(rig.at, &url("_HLS_msn=11")).code, 503);
    let took = begun.elapsed().as_secs_f64();
    assert!((2.5..5.0).contains(&took), "{took}");
    // The writer goes away: what there is.
    let last = waits("_HLS_msn=11");
    std::thread::sleep(Duration::from_millis(100));
    drop(moves);
    assert_eq!(last.join().unwrap().code, 200);
    rig.write(path, b"#EXTM3U\n#EXT-X-ENDLIST\n");
    let _moves = rig.moves(path, (11, 0));
    assert_eq!(get(rig.at, &url("_HLS_msn=11")).code, 200);
}

#[test]
fn a_part_that_is_announced_is_waited_for() {
    let rig = rig();
    let playlist = "cam/720p/index.m3u8";
    rig.write(
        playlist,
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"7.2.m4s\"\n",
    );
    let moves = rig.moves(playlist, (7, 2));
    let at = rig.at;
    let begun = Instant::now();
    assert_eq!(get(at, "/hls/cam/720p/7.3.m4s").code, 404);
    assert!(begun.elapsed() < Duration::from_secs(1));
    let hinted = std::thread::spawn(move || get(at, "/hls/cam/720p/7.2.m4s"));
    std::thread::sleep(Duration::from_millis(300));
    assert!(!hinted.is_finished());
    rig.write("cam/720p/7.2.m4s", b"part");
    moves.send((7, 3)).unwrap();
    let answer = hinted.join().unwrap();
    assert_eq!((answer.code, answer.text().as_str()), (200, "part"));
}
