//! Opening reports in a real browser.

use std::path::Path;
use std::process::Command;

/// What headless Chromium makes of a page, or nothing where there is no Chromium.
pub fn dom_in_chromium(page: &Path) -> Option<String> {
    let browser = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| {
            Command::new(name)
                .arg("--version")
                .output()
                .is_ok_and(|o| o.status.success())
        });
    let Some(browser) = browser else {
        eprintln!("SKIPPED: no chromium here (apt install chromium); the page was not opened");
        return None;
    };
    let profile = tempfile::tempdir().unwrap();
    let out = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,2000",
            "--virtual-time-budget=3000",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg("--dump-dom")
        .arg(format!(
            "file://{}",
            page.canonicalize().unwrap().to_str().unwrap()
        ))
        .output()
        .unwrap();
    assert!(out.status.success(), "chromium: {out:?}");
    Some(String::from_utf8(out.stdout).unwrap())
}

/// The value of an attribute of the page's root element.
pub fn root_attribute<'a>(dom: &'a str, name: &str) -> Option<&'a str> {
    let root = dom.split("<html").nth(1)?.split('>').next()?;
    root.split(&format!("{name}=\"")).nth(1)?.split('"').next()
}

/// Asserts that the script ran to its end and drew `plots` charts over time.
pub fn assert_drawn(dom: &str, plots: usize) {
    assert_eq!(root_attribute(dom, "data-error"), None);
    assert_eq!(root_attribute(dom, "data-ready"), Some("1"));
    if plots > 0 {
        assert_eq!(
            root_attribute(dom, "data-plots"),
            Some(plots.to_string().as_str())
        );
    }
}

pub fn lines_drawn(dom: &str) -> usize {
    dom.matches("<path class=\"line\"").count()
}
