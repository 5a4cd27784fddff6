#!/usr/bin/env bash
# Fetches the real tokenizers and chat templates that parity/text_sources.json pins and links them into
# .deps/text-parity, for the text package's tests.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

folder=$CACHE/text-parity-$(hash_tree parity/text_sources.json parity/fetch_text_sources.py)

fetch() {
  [ -d "$folder" ] && return
  local tmp
  tmp=$(scratch)
  # shellcheck disable=SC2064 # tmp is local
  trap "rm -rf '$tmp'" EXIT
  logged text-parity python3 "$ROOT/parity/fetch_text_sources.py" "$tmp/out"
  mv "$tmp/out" "$folder"
}

if [ ! -d "$folder" ]; then
  timed "fetching tokenizers and chat templates (330 MB)" "2 minutes" \
    with_lock "$(basename "$folder")" fetch
fi
link_dep text-parity "$folder"
