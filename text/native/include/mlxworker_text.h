/*
 * C interface of libmlxworker_text.a: tokenizers, chat templates and grammars.
 *
 * Rules for every function:
 *  - Pointers into the caller's memory are only read during the call. A pointer with
 *    length 0 may be NULL. Text that is not UTF-8 is read with U+FFFD for what is wrong.
 *  - A returned mwt_buffer is the caller's, also when it holds an error, and is freed
 *    with mwt_buffer_free. An empty one has a NULL ptr.
 *  - A handle is immutable: any number of threads may use one at a time. It is freed
 *    once, when nobody uses it any more.
 *  - No function unwinds: a panic is the status MWT_PANIC (or the return value -1).
 */
#ifndef MLXWORKER_TEXT_H
#define MLXWORKER_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  MWT_OK = 0,
  MWT_ERROR = 1,       /* the buffer holds the message */
  MWT_UNSUPPORTED = 2, /* as MWT_ERROR: a known thing that the library cannot do */
  MWT_PANIC = 3        /* as MWT_ERROR: a fault of the library */
};

typedef struct mwt_buffer {
  uint8_t *ptr;
  size_t len;
  size_t capacity;
  int32_t status;
} mwt_buffer;

typedef struct mwt_tokenizer mwt_tokenizer;
typedef struct mwt_template mwt_template;

void mwt_buffer_free(mwt_buffer buffer);

/*
 * Loads a tokenizer.json. options: JSON
 *   {"added_tokens": [{content, single_word, lstrip, rstrip, normalized, special}],
 *    "special_tokens": [text]}
 * On success *out is set and the buffer holds JSON {model, joining, vocab_size}, where
 * joining is "byte_level", "sentence_piece", "sentence_piece_strip" or "sequence".
 */
mwt_buffer mwt_tokenizer_from_json(const uint8_t *json, size_t json_len,
                                   const uint8_t *options, size_t options_len,
                                   mwt_tokenizer **out);

/*
 * Builds a tokenizer from GGUF metadata. header: JSON {model, pre, bos, eos, unk, add_bos,
 * add_eos, add_space_prefix}, where all but model and pre may be null. tokens and merges
 * are packed strings, each a little-endian uint32 length and its bytes. scores and types
 * are empty or one per token. Result as above.
 */
mwt_buffer mwt_tokenizer_from_gguf(const uint8_t *header, size_t header_len,
                                   const uint8_t *tokens, size_t tokens_len,
                                   const uint8_t *merges, size_t merges_len,
                                   const float *scores, size_t scores_len,
                                   const int32_t *types, size_t types_len,
                                   mwt_tokenizer **out);

void mwt_tokenizer_free(mwt_tokenizer *tokenizer);

/* Ids of a text as little-endian uint32. add_special: BOS and EOS as the tokenizer defines. */
mwt_buffer mwt_tokenizer_encode(const mwt_tokenizer *tokenizer, const uint8_t *input,
                                size_t input_len, bool add_special);

/* Text of ids. Ids outside the vocabulary add nothing. */
mwt_buffer mwt_tokenizer_decode(const mwt_tokenizer *tokenizer, const uint32_t *ids,
                                size_t count, bool skip_special);

/*
 * The bytes that one id adds to a text, written to out if they fit in capacity. Returns
 * their number, 0 for an unknown or skipped id, -1 for a fault.
 */
int64_t mwt_tokenizer_piece(const mwt_tokenizer *tokenizer, uint32_t id, bool skip_special,
                            uint8_t *out, size_t capacity);

/* The vocabulary entry of an id, MWT_ERROR if there is none. */
mwt_buffer mwt_tokenizer_entry(const mwt_tokenizer *tokenizer, uint32_t id);

/* The id of a vocabulary entry, or -1; special_only: only if it is a special token. */
int64_t mwt_tokenizer_id(const mwt_tokenizer *tokenizer, const uint8_t *token,
                         size_t token_len, bool special_only);

/* Compiles a Jinja chat template. */
mwt_buffer mwt_template_new(const uint8_t *source, size_t source_len, mwt_template **out);

/*
 * Renders to UTF-8. request: JSON {messages, tools, kwargs, special_tokens,
 * add_generation_prompt, now}; tools and kwargs may be null, special_tokens maps names to
 * texts, now is [year, month, day, hour, minute, second, microsecond, weekday from Sunday
 * as 0, day of the year from 1] in local time.
 */
mwt_buffer mwt_template_render(const mwt_template *tmpl, const uint8_t *request,
                               size_t request_len);

void mwt_template_free(mwt_template *tmpl);

/* llguidance's own functions are in the archive too; see llguidance.h of its crate. */
const char *llg_get_version(void);

#endif
