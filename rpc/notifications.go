package rpc

// Notification is one row of the table of notifications.
type Notification struct {
	Name   string
	Doc    string
	Params string // what the params hold
}

// Notifications is the table of everything that the worker sends without being asked. It must
// not be changed.
var Notifications = []Notification{
	{
		"worker/ready", "The worker has started. It is the first frame.",
		"`protocol` (1), `version`, `mlx_version`, `mlx_c_version`, `backend \"metal\"|\"cuda\"|\"cpu\"`, " +
			"`device {name, memory_bytes, recommended_bytes?}`, `pid`, `capabilities [string]` (the methods that this build offers)",
	},
	{
		"model.progress", "How a load comes on: the start and the end of each phase, at most ten times a second between them. A slow client misses some.",
		"`model_id`, `phase \"read\"|\"convert\"|\"warmup\"`, `loaded_bytes`, `total_bytes`",
	},
	{
		"stream.chunk", "What one or more steps added to streams, all in one frame. `index` counts a stream's chunks; `text` is whole UTF-8 and never part of " +
			"a stop sequence; `token_ids` has the tokens behind it, an end-of-text token included. Text that is held back comes with a later chunk.",
		"`chunks [{stream_id, index, text, token_ids, logprobs?: [{token_id, logprob, top?: [{token_id, text, logprob}]}]}]`",
	},
	{
		"stream.stats", "The figures of a stream that has ended, after its last chunk.",
		"`stream_id`, `prompt_tokens`, `cached_tokens`, `completion_tokens`, `queue_ms`, `prefill_ms`, `ttft_ms`, `decode_ms`, `total_ms`, " +
			"`tokens_per_second` (after the first token), `draft_tokens`, `draft_accepted`",
	},
	{
		"stream.event", "The end of a stream, exactly once and last. Event and reason go together: completed (stop, length), cancelled (cancelled, timeout), error (error). " +
			"A stream that the worker cancelled has an error too.",
		"`stream_id`, `event`, `finish_reason`, `stop_sequence?`, `stop_token_id?`, `error? {code, message, data}`",
	},
}
