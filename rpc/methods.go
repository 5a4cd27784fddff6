package rpc

import (
	"context"
	"math"
	"slices"
)

// Method is one row of the table of methods.
type Method struct {
	Name    string
	Aliases []string // other names, of the replaced system
	Base    string   // method whose parameters it has too; "": none
	Params  []Param
	Doc     string
	Result  string // what the result holds; "": an empty map
	// NotOffered says why a method that clients may know is refused; "": it is offered.
	NotOffered string

	// Exactly one of these is set for an offered method.

	// now answers on the reader's goroutine, and so must not wait for anything.
	now func(*server, args) (any, error)
	// task answers on a goroutine of its own.
	task func(*server, context.Context, args) (any, error)
	// begin runs on the reader's goroutine, where requests are still in order, and returns
	// what is left to do on another one; nil: the answer comes from elsewhere.
	begin func(*server, *call, args) (task, error)
}

// task is the part of a request that may wait. ctx ends when the worker does.
type task func(ctx context.Context) (result any, err error)

const (
	maxIDBytes   = 512  // of a model id
	maxStreamID  = 128  // bytes of a stream id
	maxPathBytes = 4096 // of a path or a revision
	maxBatch     = 1024 // requests of a batch
	maxStops     = 16
	maxStopBytes = 1024
	maxStopIDs   = 128
	maxTopK      = 1_000_000
	maxContext   = 10_000_000 // tokens; above any model's
	maxTimeout   = math.MaxInt32
	maxSeed      = 1<<53 - 1 // the largest integer that a JavaScript number holds exactly
)

var modelID = textParam("model_id", 1, maxIDBytes, "Id of the model.").required()

// chatParams are the parameters of a conversation; messages is required or not.
func chatParams(messages Param) []Param {
	return []Param{
		messages,
		objectsParam("tools", 0, math.MaxInt, "Functions that the model may call, as its chat template expects them."),
		objectParam("chat_template_kwargs", "Further variables of the chat template, such as enable_thinking."),
	}
}

var messagesParam = objectsParam("messages", 1, math.MaxInt,
	"The conversation: objects with role and content (a string, null or an array of text parts), and what else the chat template knows.")

var tokenizeParams = []Param{
	modelID,
	textParam("text", 0, math.MaxInt, "Text to encode.").required(),
	boolParam("add_special_tokens", true, "Add the tokens that the model expects around a text."),
	boolParam("strings", false, "Return the vocabulary entries too."),
}

var checkDraftParams = []Param{
	textParam("primary_id", 1, maxIDBytes, "Id of the model that generates.").required(),
	textParam("draft_id", 1, maxIDBytes, "Id of the model that drafts.").required(),
}

// requestsParam takes the parameters of many calls, which have the TypeScript type item.
func requestsParam(item, doc string) Param {
	p := objectsParam("requests", 1, maxBatch, doc).required()
	p.Type = "readonly " + item + "[]"
	return p
}

// Methods is the table of everything that can be called. It must not be changed.
var Methods = []Method{
	{
		Name: "ping",
		Doc:  "Answers at once, whatever the engine is doing.",
		now:  func(*server, args) (any, error) { return struct{}{}, nil },
	},
	{
		Name:   "runtime/info",
		Doc:    "Describes the worker.",
		Result: "as `worker/ready`, and `memory {active_bytes, cache_bytes, peak_bytes, rss_bytes}`, `uptime_ms`",
		task:   (*server).runtimeInfo,
	},
	{
		Name:   "runtime/state",
		Doc:    "Says what the worker is doing.",
		Result: "`loaded_models [{model_id, state \"loading\"|\"ready\"|\"unloading\", type}]`, `active_streams`, `queued`, `restart_count` (0: the client restarts workers)",
		task:   (*server).runtimeState,
	},
	{
		Name: "runtime/stats", Aliases: []string{"runtime/telemetry", "get_batcher_metrics"},
		Doc: "Figures of the scheduler. Percentiles are of the last 1000 samples, counts of all.",
		Result: "`latency_ms {queue, ttft, inter_token, total: {p50, p95, p99, count}}`, `throughput {5s, 30s, 60s}` (tokens per second), " +
			"`requests_per_second {5s, 30s, 60s}`, `batch {rows, max_rows, window_ms, sizes {rows: steps}}`, " +
			"`requests {submitted, rejected, completed, cancelled, timed_out, failed, active, queued}`, `tokens {prompt, completion}`, `steps_total`, " +
			"`fast_path_total`, `degradations_total`, `tuner`, `prefix_cache` and `speculative` (each `{enabled}`), `uptime_ms`",
		task: (*server).runtimeStats,
	},
	{Name: "reload_env", Doc: "Reads the environment again.", NotOffered: "the environment is read once, at start"},
	{
		Name: "load_model",
		Params: []Param{
			modelID,
			textParam("local_path", 1, maxPathBytes, "A folder with config.json, or a .gguf file. Without it model_id is looked up in MLX_MODELS_DIR, then in the Hugging Face cache; never over a network."),
			textParam("revision", 1, maxPathBytes, "Revision to take from the Hugging Face cache."),
			intParam("context_length", 1, maxContext, "Tokens of context to offer; default: the model's own."),
			choiceParam("dtype", "", []string{"float32", "float16", "bfloat16"}, "Type of the activations; default: the model's own, or the backend's policy."),
			textParam("adapter_path", 1, maxPathBytes, "Folder of a LoRA adapter.").refusedUnless(never),
			quantizationParam("quantization", "Quantise the matrices of a dense checkpoint while loading, as mlx_lm.convert does."),
			boolParam("draft", false, "Load as a draft for speculative decoding.").refusedUnless(equals(false)),
			boolParam("trust_remote_code", false, "Code from model repositories is never run: true is refused.").refusedUnless(equals(false)),
		},
		Doc: "Makes a model ready. Calls for one id at the same time are one load, whose failure reaches all. Progress comes as `model.progress`.",
		Result: "`model_id`, `state \"ready\"`, `architecture`, `context_length`, `parameter_count`, `size_bytes`, `dtype`, " +
			"`quantization {mode, bits, group_size}` or null, `vocab_size`, `chat_template` (whether there is one), `eos_token_ids`, `load_ms`, `cached` (it was loaded before)",
		task: (*server).loadModel,
	},
	{
		Name: "unload_model",
		Params: []Param{
			modelID,
			boolParam("force", false, "Cancel the model's streams; without it a model with streams is Busy."),
		},
		Doc:    "Frees a model.",
		Result: "`success`, `freed_bytes`",
		task:   (*server).unloadModel,
	},
	{
		Name:   "generate",
		Params: generateParams,
		Doc:    "Starts to generate from exactly one of prompt, prompt_tokens and messages. What goes wrong before the start is the response; the rest comes by notifications.",
		Result: "`stream_id`, `started_at` (Unix time in seconds)",
		begin:  (*server).generate,
	},
	{
		Name: "cancel",
		Params: []Param{
			textParam("stream_id", 1, maxStreamID, "The stream to cancel.").required(),
		},
		Doc:    "Cancels a stream, also before its generate was answered. It leaves the batch before the next step.",
		Result: "`cancelled`: whether it was still active",
		now:    (*server).cancelStream,
	},
	{
		Name:   "batch_generate",
		Params: []Param{requestsParam("GenerateParams", "Parameters of generate, once for each stream.")},
		Doc:    "Starts several streams. An item that fails does not affect the others.",
		Result: "`results [{success, result?, error?}]` in order, each as of generate",
		begin:  (*server).batchGenerate,
	},
	{
		Name:   "tokenize",
		Params: tokenizeParams,
		Doc:    "Encodes a text.",
		Result: "`tokens`, `token_strings` (if asked for), `count`",
		task:   (*server).tokenize,
	},
	{
		Name:   "batch_tokenize",
		Params: []Param{requestsParam("TokenizeParams", "Parameters of tokenize, once for each text.")},
		Doc:    "Encodes several texts. An item that fails does not affect the others.",
		Result: "`results [{success, result?, error?}]` in order, each as of tokenize",
		task:   (*server).batchTokenize,
	},
	{
		Name: "detokenize",
		Params: []Param{
			modelID,
			tokensParam("tokens", 0, math.MaxInt, "Tokens to decode.").required(),
			boolParam("skip_special_tokens", false, "Leave special tokens out of the text."),
		},
		Doc:    "Decodes tokens.",
		Result: "`text`",
		task:   (*server).detokenize,
	},
	{
		Name: "apply_chat_template",
		Params: slices.Concat([]Param{modelID}, chatParams(messagesParam.required()), []Param{
			boolParam("add_generation_prompt", true, "End with the beginning of an answer."),
			boolParam("tokenize", false, "Return tokens in place of text."),
		}),
		Doc:    "Renders a conversation by the model's chat template.",
		Result: "`text`, or `tokens` with tokenize",
		task:   (*server).applyChatTemplate,
	},
	{
		Name: "shutdown",
		Params: []Param{
			intParam("drain_ms", 0, maxTimeout, "Time for running streams to finish; the rest is cancelled.").withDefault(int64(5000)),
		},
		Doc:    "Refuses new work, waits for what runs, answers and ends the process with exit code 0. A second call is answered with the first.",
		Result: "`success`",
		begin:  (*server).shutdown,
	},
	{
		Name: "embed",
		Params: []Param{
			modelID,
			textsParam("input", maxBatch, math.MaxInt, "Texts to embed.").required(),
			choiceParam("pooling", "", []string{"last", "mean", "cls"}, "How token vectors become one; default: by model."),
			boolParam("normalize", true, "Scale to length 1."),
			intParam("dimensions", 1, maxContext, "Leading dimensions to keep; default: all."),
		},
		Doc: "Embeds texts.", Result: "`embeddings` (float32, row-major), `shape [n, d]`, `usage`",
		NotOffered: notBuilt,
	},
	{Name: "check_draft", Params: checkDraftParams, Doc: "Tells whether a model can draft for another.", Result: "`compatible`, `errors`, `warnings`, `details`", NotOffered: notBuilt},
	{Name: "batch_check_draft", Params: []Param{requestsParam("CheckDraftParams", "Parameters of check_draft, once for each pair.")}, Doc: "Checks several pairs.", Result: "`results [{success, result?, error?}]`", NotOffered: notBuilt},
	{
		Name: "save_prompt_cache",
		Params: []Param{
			modelID,
			textParam("path", 1, maxPathBytes, "File to write.").required(),
			textParam("prompt", 1, math.MaxInt, "Prompt whose KV cache is saved.").required(),
		},
		Doc: "Saves the KV cache of a prompt in mlx-lm's file format.", NotOffered: notBuilt,
	},
	{Name: "load_prompt_cache", Params: []Param{textParam("path", 1, maxPathBytes, "File to read.").required()}, Doc: "Loads a KV cache from mlx-lm's file format.", NotOffered: notBuilt},
	{
		Name: "load_vision_model",
		Params: []Param{
			modelID,
			textParam("local_path", 1, maxPathBytes, "Folder of the model."),
			textParam("revision", 1, maxPathBytes, "Revision to take from the Hugging Face cache."),
			textParam("quantization", 1, maxIDBytes, "Quantise while loading."),
		},
		Doc: "Loads a vision model.", NotOffered: notBuilt,
	},
	{Name: "generate_with_image", Base: "generate", Params: []Param{textParam("image", 1, math.MaxInt, "The image, base64 or a data URI.").required()}, Doc: "Generates from a prompt and an image.", NotOffered: notBuilt},
}

const notBuilt = "this build does not offer it"

// methodsByName maps names and aliases.
var methodsByName = map[string]*Method{}

func init() { // not an initialiser: Methods refers to handlers that refer to it
	for i := range Methods {
		m := &Methods[i]
		methodsByName[m.Name] = m
		for _, alias := range m.Aliases {
			methodsByName[alias] = m
		}
	}
}

// capabilities lists the methods that this build offers.
func capabilities() []string {
	var names []string
	for _, m := range Methods {
		if m.NotOffered == "" {
			names = append(names, m.Name)
		}
	}
	return names
}
