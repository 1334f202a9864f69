/* app/ask_internal.h — what asking (ask.c) and its words (ask_words.c) share. */
#ifndef IM_APP_ASK_INTERNAL_H
#define IM_APP_ASK_INTERNAL_H

#include "app/vlm_internal.h"

#define ASK_VERSION "ask-1"
#define ASK_NOTE_VERSION "ask-note-1"
#define ASK_ANSWER_TOKENS 512u
#define ASK_NOTE_TOKENS 96u
#define ASK_NOTE_BYTES                                                         \
    300u /* of what is said of one picture, when pictures are asked one by one \
          */
#define ASK_ANSWER_BYTES 4000u /* of an answer; more is cut */
#define ASK_TEXT_BYTES 8192u   /* of a model's text while it comes; more ends it */

extern const char ask_schema[];

/** An answer as it is kept and told: bounded, cleaned. All zero at first. */
typedef struct ask_reading {
    bool abstains;
    im_str text;
    size_t references[IM_ASK_MOST]; /* numbers of pictures, from 1, each once */
    size_t n_references;
    size_t n_dropped; /* references to nothing that was sent */
} ask_reading;

void ask_reading_init(ask_reading *reading);
void ask_reading_clear(ask_reading *reading);

/** The prompts. @param binds the server is bound by ask_schema */
void ask_write_prompt(im_str *out, im_view question, size_t n, bool binds);
void ask_write_note_prompt(im_str *out, im_view question);
/** @param notes [n], empty: nothing is known of that picture */
void ask_write_join_prompt(im_str *out, im_view question, const im_str *notes, size_t n,
                           bool binds);

/** What a model's object, or its text, says of n pictures. IM_ERR_UPSTREAM when it says nothing. */
IM_NODISCARD im_code ask_read_object(const json_t *object, size_t n, ask_reading *out,
                                     im_error *err);
IM_NODISCARD im_code ask_read_text(im_view text, size_t n, ask_reading *out, im_error *err);
/** Cleaned, at most `most` bytes, no part of a character at its end. */
void ask_add_bounded(im_str *out, im_view text, size_t most);

/** Kept answers. */
void ask_write_kept(im_json_writer *w, const ask_reading *reading);
bool ask_read_kept(const json_t *kept, size_t n, ask_reading *out);

/** Tells words as they come. */
typedef struct ask_teller {
    const im_ask_told *told;
    bool binds;
    im_str shown;
} ask_teller;

void ask_teller_init(ask_teller *teller, const im_ask_told *told, bool binds);
void ask_teller_clear(ask_teller *teller);
/** For im_vlm_question.told; `context` is the teller. */
IM_NODISCARD im_code ask_tell(void *context, im_view text, im_error *err);
/** The whole answer is known: tells what is left of it. */
void ask_tell_rest(ask_teller *teller, im_view answer);

#endif
