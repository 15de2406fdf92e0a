#!/usr/bin/env bash
# Everything that judges the code without running it.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'lint: %s\n' "$*"; }

say "cargo fmt --check"
cargo fmt --all --check
say "cargo clippy -D warnings"
cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
if command -v shellcheck >/dev/null; then
    mapfile -t scripts < <(git ls-files -- '*.sh' .ci/run)
    say "shellcheck (${#scripts[@]} scripts)"
    shellcheck -x "${scripts[@]}"
else
    say "SKIPPED shellcheck: it is not installed"
fi
if command -v cargo-deny >/dev/null; then
    say "cargo deny: licences, bans, sources"
    cargo deny --log-level error check licenses bans sources
    # The advisory database comes over the network; without one, say so and go on.
    say "cargo deny: advisories"
    if ! output=$(cargo deny --log-level error check advisories 2>&1); then
        if grep -q 'failed to fetch advisory database' <<<"$output"; then
            say "SKIPPED advisories: the database could not be fetched"
        else
            printf '%s\n' "$output" >&2
            exit 1
        fi
    fi
else
    say "SKIPPED cargo deny: it is not installed (cargo install cargo-deny --locked)"
fi
say "clean"
