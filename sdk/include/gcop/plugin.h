/* gcop/plugin.h - the whole plugin ABI, version 0.1. C11, also valid C++11 to C++20.
 *
 * A plugin is a shared object with one exported symbol, gcop_plugin_entry. It returns a static descriptor; the host
 * creates instances from it and asks each instance for interfaces by string id ("gcop.core/1", ...). No C++ type, no
 * exception and no foreign free() crosses this line.
 *
 * R1 Every struct but gcop_str starts with struct_size, has no implicit padding and grows only at its end. Read or
 *    write a field of the other side's struct only if GCOP_HAS says it is there.
 * R2 An incompatible change is a new interface id ("gcop.core/2"); "/1" keeps working.
 * R3 Nobody frees the other side's memory. Inputs live until done() (async) or until return (blocking); outputs live
 *    until the callback that delivers them returns. Copy what you keep. Arrays hold scalars, gcop_str or pointers.
 * R4 done() is called exactly once per op, on any thread, also after cancel and also when the call fails at once.
 *    It only copies and posts, so it may be called from inside the starting call. cancel() may come late: ignore ops
 *    you no longer know. destroy() returns only when no thread of the plugin runs plugin code any more.
 * R5 Plugins are never unloaded and are trusted code. Code written by a model never runs in this process: it goes to
 *    the host's jail, "gcop.host.sandbox/1".
 *
 * Thread tags. [main] the host's control strand. [any] any thread, concurrently. [nonblock] starts the work and
 * returns at once. [block] may take long; the host calls it off its strand.
 *
 * Rationale for "no implicit padding": a field appended into tail padding leaves sizeof unchanged, so a new host
 * would read garbage from an old plugin as if it were valid. The header must compile with -Werror=padded. */
#ifndef GCOP_PLUGIN_H
#define GCOP_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#define GCOP_ABI_MAJOR 0u
#define GCOP_ABI_MINOR 1u
/* While the major version is 0 a plugin loads only into a host of the same minor version. */

#define GCOP_HAS(p, f) ((size_t)((const char *)&(p)->f - (const char *)(p)) + sizeof((p)->f) <= (p)->struct_size)
#define GCOP_EXPORT __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

/* UTF-8, no NUL needed; {NULL, 0} means absent. Frozen. */
typedef struct gcop_str {
  const char *ptr;
  size_t len;
} gcop_str;

/* GCOP_UNAVAILABLE and GCOP_TIMEOUT may be worth another try, every other error is final. */
enum {
  GCOP_OK = 0,
  GCOP_CANCELLED = 1,   /* the host asked for it */
  GCOP_TIMEOUT = 2,     /* a deadline passed */
  GCOP_INVALID = 3,     /* the request or the file is wrong; the message says what */
  GCOP_UNAVAILABLE = 4, /* the other side is not there now: network, rate limit, 5xx */
  GCOP_UNSUPPORTED = 5, /* a capability this instance does not have */
  GCOP_INTERNAL = 6,    /* a bug; an exception that reached the boundary */
  GCOP_DENIED = 7,      /* key refused, billing stop: never retried */
  GCOP_EXHAUSTED = 8    /* memory, disk or budget ran out */
};
typedef int32_t gcop_status;

/* The caller's buffer: the callee writes code and a NUL-terminated message that names the thing, the value and the
 * remedy. Untouched on success. */
typedef struct gcop_error {
  uint32_t struct_size;
  gcop_status code;
  char message[1016];
} gcop_error;

typedef struct gcop_instance gcop_instance; /* the plugin's own object */

/* One pending call. The host's; valid until its done() has returned. */
typedef struct gcop_op {
  uint32_t struct_size;
  uint32_t reserved;
  uint64_t id;                                  /* unique in this process */
  uint64_t deadline_ns;                         /* CLOCK_MONOTONIC, 0 = none */
  int32_t (*cancelled)(const struct gcop_op *); /* [any] poll it in long loops */
} gcop_op;

typedef void (*gcop_done)(const gcop_op *, gcop_status, gcop_str error); /* for calls without a result */

enum { GCOP_LOG_DEBUG = 0, GCOP_LOG_INFO = 1, GCOP_LOG_WARN = 2, GCOP_LOG_ERROR = 3 };

/* The host, as a plugin sees it. Valid until destroy() has returned. */
typedef struct gcop_host {
  uint32_t struct_size;
  uint16_t abi_major;
  uint16_t abi_minor;
  void (*log)(const struct gcop_host *, int32_t level, gcop_str message);   /* [any][nonblock] */
  void (*post)(const struct gcop_host *, void (*fn)(void *arg), void *arg); /* [any] fn(arg) on a worker thread */
  const void *(*query)(const struct gcop_host *, const char *id);           /* [any] host service, or NULL */
} gcop_host;

/* Static storage in the plugin. */
typedef struct gcop_plugin {
  uint32_t struct_size;
  uint16_t abi_major;
  uint16_t abi_minor;
  const char *id;                 /* "org.example.pytest" */
  const char *version;            /* semver of the plugin itself */
  const char *summary;            /* one line for `gcop-run doctor` */
  const char *config_schema_json; /* JSON Schema of create()'s config */
  gcop_instance *(*create)(const gcop_host *, gcop_str config_json, gcop_error *); /* [block] NULL = see error */
  void (*destroy)(gcop_instance *);                                                /* [block] after every done() */
  const void *(*query)(gcop_instance *, const char *id);                           /* [any] interface, or NULL */
} gcop_plugin;

/* The one exported symbol. NULL refuses this host. */
GCOP_EXPORT const gcop_plugin *gcop_plugin_entry(uint32_t host_major, uint32_t host_minor);
typedef const gcop_plugin *(*gcop_plugin_entry_fn)(uint32_t host_major, uint32_t host_minor);

/* ------------------------------------------------------------------------------------------------ gcop.core/1
 * An LLM that carries strategies out: an API over the network, a local model, recorded calls. */
#define GCOP_CORE "gcop.core/1"

enum {                              /* capabilities of a core */
       GCOP_CORE_PARTS = 1u << 0,   /* calls part() as text arrives */
       GCOP_CORE_PARTIAL = 1u << 1, /* on cancel, done() carries the text and usage so far */
       GCOP_CORE_STOP = 1u << 2,    /* honours stop strings */
       GCOP_CORE_PREFIX = 1u << 3,  /* can continue a given assistant prefix */
       GCOP_CORE_SEED = 1u << 4,    /* same request and seed, same text */
       GCOP_CORE_CHOICES = 1u << 5  /* n_choices > 1 */
};

typedef struct gcop_core_request {
  uint32_t struct_size;
  uint32_t max_tokens; /* of output, reasoning included; > 0 */
  uint32_t n_choices;  /* >= 1 */
  uint32_t reserved;
  double temperature;     /* 0 = greedy; negative = the model's default */
  double top_p;           /* (0, 1]; 1 = off */
  uint64_t seed;          /* a pure function of the run's seed and this call's place in it */
  uint64_t sample_index;  /* tells repeated draws of one request apart */
  gcop_str messages_json; /* [{"role":"system|user|assistant","content":"..."}] */
  gcop_str prefix;        /* start of the answer to continue from, or absent */
  gcop_str extra_json;    /* open-ended provider parameters: one JSON object, or absent */
  const gcop_str *stop;   /* n_stop strings, not part of the text that comes back */
  size_t n_stop;
  void (*part)(const gcop_op *, uint32_t choice, gcop_str text); /* [any] may be NULL */
} gcop_core_request;

typedef struct gcop_core_result {
  uint32_t struct_size;
  gcop_status status;
  gcop_str error;
  size_t n_texts; /* choices that came back */
  const gcop_str *texts;
  const gcop_str *finish; /* "stop", "length", "content_filter", ... one for each text */
  uint64_t input_tokens;  /* the five classes are disjoint */
  uint64_t cache_read_tokens;
  uint64_t cache_write_tokens;
  uint64_t output_tokens;
  uint64_t reasoning_tokens;
  uint32_t usage_known;    /* 0: the peer sent no usage and the numbers are estimates */
  uint32_t attempts;       /* requests really sent */
  uint32_t retry_after_ms; /* the peer's wish, 0 = none */
  uint32_t http_status;    /* 0 where there is none */
  gcop_str served_model;   /* as the peer names it, or absent */
  uint32_t unanswered;     /* earlier attempts of this call that were cut off: each may have been billed */
  uint32_t reserved;
} gcop_core_result;

typedef void (*gcop_core_done)(const gcop_op *, const gcop_core_result *);

typedef struct gcop_core {
  uint32_t struct_size;
  uint32_t capabilities;
  gcop_str (*identity)(gcop_instance *); /* [any] connector version, endpoint, model, weights hash: part of the cache
                                            key; never a secret; valid until destroy() */
  void (*complete)(gcop_instance *, const gcop_core_request *, const gcop_op *, gcop_core_done); /* [any][nonblock] */
  void (*cancel)(gcop_instance *, const gcop_op *); /* [any][nonblock] a hint; done() follows */
} gcop_core;

/* ------------------------------------------------------------------------------------------- gcop.validator/1
 * Checks a candidate answer of a task. A judge is a validator with a soft score. */
#define GCOP_VALIDATOR "gcop.validator/1"

typedef struct gcop_check {
  uint32_t struct_size;
  uint32_t cpu_ms;  /* 0 = the instance's default */
  uint32_t wall_ms; /* 0 = the instance's default */
  uint32_t reserved;
  uint64_t mem_bytes; /* 0 = the instance's default */
  gcop_str task_json; /* the task row, see recipes/data/README.md */
  gcop_str candidate; /* the core's output, whole; the validator extracts what it checks */
} gcop_check;

/* status says whether the check ran, score what it found. A failure of infrastructure is never a score. */
typedef struct gcop_verdict {
  uint32_t struct_size;
  gcop_status status;
  gcop_str error;
  double score;         /* [0, 1] */
  uint32_t passed;      /* assertions that held */
  uint32_t total;       /* assertions there are */
  gcop_str feedback;    /* for a teacher or a person: at most 2,000 bytes; absent when all passed */
  gcop_str detail_json; /* for reports: open-ended, or absent */
} gcop_verdict;

typedef void (*gcop_check_done)(const gcop_op *, const gcop_verdict *);

typedef struct gcop_validator {
  uint32_t struct_size;
  uint32_t reserved;
  gcop_str (*identity)(gcop_instance *);                                                /* [any] as for a core */
  void (*check)(gcop_instance *, const gcop_check *, const gcop_op *, gcop_check_done); /* [any][nonblock] */
  void (*cancel)(gcop_instance *, const gcop_op *);                                     /* [any][nonblock] */
} gcop_validator;

/* ----------------------------------------------------------------------------------------------- gcop.guide/1
 * The small trainable model. Asynchronous with continuous batching: many submit() calls in flight, each answered as
 * it ends. Token ids are the truth: text is never rendered twice. Weight versions have names; "current" exists from
 * the start and is the one that train() changes. */
#define GCOP_GUIDE "gcop.guide/1"

enum { GCOP_FINISH_STOP = 0, GCOP_FINISH_LENGTH = 1 }; /* stop: end token or stop string; length: max_tokens */

typedef struct gcop_sample_request {
  uint32_t struct_size;
  uint32_t max_tokens;
  gcop_str weights;      /* name of a weight version; absent = "current" */
  const int32_t *prompt; /* prompt_len token ids */
  size_t prompt_len;
  float temperature; /* 0 = greedy */
  float top_p;       /* (0, 1]; 1 = off */
  uint32_t top_k;    /* 0 = off */
  uint32_t n_stop;
  uint64_t seed;        /* token t's draw is a pure function of (seed, t), whatever else is in the batch */
  const gcop_str *stop; /* kept in the text that comes back */
} gcop_sample_request;

typedef struct gcop_rollout {
  uint32_t struct_size;
  gcop_status status;
  gcop_str error;
  gcop_str text; /* decode(tokens) without special tokens */
  size_t n;      /* sampled tokens, the end token included if there is one */
  const int32_t *tokens;
  const float *logprobs;    /* n: log-probability of each token under the sampling weights at temperature 1,
                               untruncated */
  uint64_t weights_version; /* which weights, of all names: every change of any takes the next number */
  uint32_t finish;          /* GCOP_FINISH_* */
  uint32_t reused;          /* prompt tokens whose keys and values were shared, not computed */
} gcop_rollout;

typedef void (*gcop_rollout_done)(const gcop_op *, const gcop_rollout *);

/* n sequences, ragged: sequence i is tokens[offsets[i] .. offsets[i+1]). */
typedef struct gcop_score_request {
  uint32_t struct_size;
  uint32_t reserved;
  gcop_str weights;
  size_t n;
  const uint64_t *offsets; /* n + 1 */
  const int32_t *tokens;
} gcop_score_request;

/* logprobs[j] = log p(tokens[j] | tokens of its sequence before j); 0 for a sequence's first token. */
typedef void (*gcop_score_done)(const gcop_op *, gcop_status, gcop_str error, const float *logprobs, size_t n);

enum { GCOP_OBJECTIVE_NLL = 0, GCOP_OBJECTIVE_POLICY = 1 };
enum { GCOP_REDUCE_DR_GRPO = 0, GCOP_REDUCE_DAPO = 1, GCOP_REDUCE_GRPO = 2 };
enum { GCOP_RATIO_TOKEN = 0, GCOP_RATIO_SEQUENCE = 1 };

/* Policy objective, per masked token with w = exp(logp - old):
 *   -min(min(w, clip_delta) A, clip(w, 1 - clip_low, 1 + clip_high) A) + kl_beta (exp(d) - d - 1), d = ref - logp.
 * Reductions: dr_grpo = sum / (n max_len) (arXiv 2503.20783); dapo = sum / masked tokens (arXiv 2503.14476);
 * grpo = mean over tokens, then over sequences (arXiv 2402.03300). NLL: mean over masked tokens. */
typedef struct gcop_loss_options {
  uint32_t struct_size;
  uint32_t objective;   /* GCOP_OBJECTIVE_* */
  uint32_t reduction;   /* GCOP_REDUCE_* */
  uint32_t ratio_level; /* GCOP_RATIO_*; sequence: w = exp(mean_t(logp - old)) (GSPO, arXiv 2507.18071) */
  float clip_low;
  float clip_high;
  float clip_delta; /* two-sided clip, 0 = off */
  float kl_beta;    /* 0 = off */
  uint32_t max_len; /* dr_grpo's constant length L */
  uint32_t reserved;
} gcop_loss_options;

/* AdamW; weight decay applies to matrices only. */
typedef struct gcop_optimizer_options {
  uint32_t struct_size;
  float lr;
  float beta1;
  float beta2;
  float eps;
  float weight_decay;
  float max_grad_norm; /* 0 = off */
  uint32_t reserved;
} gcop_optimizer_options;

/* One optimizer step on the weights "current". The batch is split into micro-batches inside; the result does not
 * depend on the split beyond rounding. */
typedef struct gcop_train_request {
  uint32_t struct_size;
  uint32_t reserved;
  size_t n;
  const uint64_t *offsets; /* n + 1 */
  const int32_t *tokens;
  const uint8_t *mask;       /* parallel to tokens: 1 = this token is predicted and counts */
  const float *old_logprobs; /* parallel to tokens, or NULL = on policy (ratio 1, gradient kept) */
  const float *ref_logprobs; /* parallel to tokens, or NULL = no KL */
  const float *advantages;   /* n, or NULL for NLL */
  uint64_t expect_version;   /* weights_version the samples came from; 0 = do not check */
  const gcop_loss_options *loss;
  const gcop_optimizer_options *optimizer;
} gcop_train_request;

typedef struct gcop_train_result {
  uint32_t struct_size;
  gcop_status status;
  gcop_str error;
  double loss;
  double kl;      /* mean k3 over masked tokens against ref_logprobs */
  double entropy; /* mean over masked tokens, nats */
  double clip_frac;
  double ratio_max;
  double grad_norm;  /* before clipping */
  uint64_t n_tokens; /* masked */
  uint64_t weights_version;
} gcop_train_result;

typedef void (*gcop_train_done)(const gcop_op *, const gcop_train_result *);
typedef void (*gcop_tokens_fn)(void *ctx, const int32_t *tokens, size_t n); /* called once, before the return */
typedef void (*gcop_text_fn)(void *ctx, gcop_str text);                     /* called once, before the return */

enum { GCOP_SAVE_OPTIMIZER = 1u << 0 }; /* also AdamW's moments and step, for resuming */

typedef struct gcop_guide {
  uint32_t struct_size;
  uint32_t reserved;
  gcop_str (*identity)(gcop_instance *); /* [any] engine version and weights hash; valid until destroy() */
  gcop_str (*info)(gcop_instance *);     /* [any] JSON: architecture, parameters, context, vocabulary, device, bytes */
  gcop_status (*encode)(gcop_instance *, gcop_str text, gcop_tokens_fn, void *ctx, gcop_error *); /* [any] */
  gcop_status (*decode)(gcop_instance *, const int32_t *tokens, size_t n, gcop_text_fn, void *ctx,
                        gcop_error *); /* [any] */
  /* The model's chat template over messages_json, generation prompt included. [any] */
  gcop_status (*render)(gcop_instance *, gcop_str messages_json, gcop_tokens_fn, void *ctx, gcop_error *);
  void (*submit)(gcop_instance *, const gcop_sample_request *, const gcop_op *,
                 gcop_rollout_done);                                                            /* [any][nonblock] */
  void (*score)(gcop_instance *, const gcop_score_request *, const gcop_op *, gcop_score_done); /* [any][nonblock] */
  void (*train)(gcop_instance *, const gcop_train_request *, const gcop_op *, gcop_train_done); /* [any][nonblock] */
  /* Calls below run in order with train(). copy: weights `from` become the version `to` as well; copying to "current"
   * also clears the optimizer. drop: forget a version other than "current". */
  void (*copy)(gcop_instance *, gcop_str from, gcop_str to, const gcop_op *, gcop_done); /* [any][nonblock] */
  void (*drop)(gcop_instance *, gcop_str name, const gcop_op *, gcop_done);              /* [any][nonblock] */
  /* A Hugging Face directory (config.json, model.safetensors, tokenizer files). Written to a temporary name beside
   * dir and renamed, so that a half directory is never seen. load reads such a directory into `name`, optimizer
   * included if it is there and name is "current". */
  void (*save)(gcop_instance *, gcop_str name, gcop_str dir, uint32_t flags, const gcop_op *, gcop_done);
  void (*load)(gcop_instance *, gcop_str name, gcop_str dir, const gcop_op *, gcop_done);
  void (*cancel)(gcop_instance *, const gcop_op *); /* [any][nonblock] */
} gcop_guide;

/* -------------------------------------------------------------------------------------------- gcop.embedder/1 */
#define GCOP_EMBEDDER "gcop.embedder/1"

typedef void (*gcop_embed_done)(const gcop_op *, gcop_status, gcop_str error, const float *vectors, size_t n_floats);

typedef struct gcop_embedder {
  uint32_t struct_size;
  uint32_t dim;                          /* length of one vector; vectors have norm 1 */
  gcop_str (*identity)(gcop_instance *); /* [any] */
  void (*embed)(gcop_instance *, const gcop_str *texts, size_t n, const gcop_op *,
                gcop_embed_done);                   /* [any][nonblock] */
  void (*cancel)(gcop_instance *, const gcop_op *); /* [any][nonblock] */
} gcop_embedder;

/* -------------------------------------------------------------------------------------- gcop.host.sandbox/1
 * The host's jail for code that nobody trusts. One run starts one or two cells: separate processes in separate
 * namespaces, no network, an empty environment, a read-only system, a private /tmp that is the working directory.
 * Two cells share nothing but a stream socket, which each finds as file descriptor 3.
 *
 * argv and files name a program. The host starts it once in a box of its own, with /box as working directory, and
 * keeps it: it loads what it needs, then calls `int gcop_cell_wait(void)` of /box/libgcop_cell.so, which returns 0
 * once for each cell, in a new process, and never again in the box's. All cells with the same argv and files are such
 * copies of one program that has seen nobody's data. `./gcop-cell PROGRAM ARGS...` is a program that starts PROGRAM
 * anew in every cell. What a program says on stdout or stderr before it waits is part of the error if it ends.
 *
 * A copy serves one cell, unless the cell is `reusable` and its program, when it has written its output, calls
 * `int gcop_cell_again(void)`: that ends the cell as exit code 0 would, and returns 0 with the standard descriptors of
 * the next one with the same program and the same limits on memory, /tmp and processes. It returns -1 where there is
 * none to come; the program ends then. Memory, /tmp and everything else of the process stay. So this is for programs
 * that run nobody's code and can vouch that a cell leaves nothing behind that the next could see. */
#define GCOP_HOST_SANDBOX "gcop.host.sandbox/1"

enum {
  GCOP_ISOLATION_JAIL = 0,   /* all of the above, or no run at all */
  GCOP_ISOLATION_PROCESS = 1 /* child processes with resource limits: no jail. Only if the user names it */
};

typedef struct gcop_cell {
  uint32_t struct_size;
  uint32_t n_argv;
  uint32_t n_files;
  uint32_t cpu_ms;            /* 0 = 2,000 */
  uint32_t wall_ms;           /* 0 = 10,000 */
  uint32_t max_processes;     /* 0 = 16 */
  uint64_t mem_bytes;         /* of each process, and of all together; 0 = 256 MiB */
  uint64_t tmp_bytes;         /* 0 = 16 MiB */
  uint64_t output_bytes;      /* of stdout and of stderr each, the rest is drained; 0 = 64 KiB */
  const gcop_str *argv;       /* argv[0] is an absolute path inside the box, or relative to /box */
  const gcop_str *file_names; /* relative to /box, which is read-only; at most 40 */
  const gcop_str *file_texts;
  gcop_str stdin_text;
  uint32_t isolation; /* GCOP_ISOLATION_* */
  uint32_t reusable;  /* 1: a program that calls gcop_cell_again() may serve another cell */
} gcop_cell;

enum {
  GCOP_CELL_CPU = 1u << 0,    /* ended by the CPU limit */
  GCOP_CELL_WALL = 1u << 1,   /* ended by the wall limit */
  GCOP_CELL_MEMORY = 1u << 2, /* its processes held more than mem_bytes together; one alone is refused more */
  GCOP_CELL_OUTPUT = 1u << 3  /* output was cut */
};

typedef struct gcop_cell_result {
  uint32_t struct_size;
  uint32_t limits;   /* GCOP_CELL_* */
  int32_t exit_code; /* -1 if ended by a signal */
  int32_t signal;    /* 0 if none */
  uint64_t cpu_ns;
  uint64_t wall_ns;
  gcop_str out;
  gcop_str err;
} gcop_cell_result;

typedef struct gcop_sandbox_result {
  uint32_t struct_size;
  gcop_status status; /* GCOP_UNSUPPORTED: this machine cannot make a jail; the error says what to enable */
  gcop_str error;
  size_t n;
  const gcop_cell_result *const *cells;
} gcop_sandbox_result;

typedef void (*gcop_sandbox_done)(const gcop_op *, const gcop_sandbox_result *);

typedef struct gcop_host_sandbox {
  uint32_t struct_size;
  uint32_t reserved;
  const gcop_host *host;
  /* The run ends when the last cell has ended; cell 0 ending ends the others. */
  void (*run)(const struct gcop_host_sandbox *, const gcop_cell *const *cells, size_t n, const gcop_op *,
              gcop_sandbox_done);                                    /* [any][nonblock] */
  void (*cancel)(const struct gcop_host_sandbox *, const gcop_op *); /* [any][nonblock] */
} gcop_host_sandbox;

#ifdef __cplusplus
}
#endif
#endif
