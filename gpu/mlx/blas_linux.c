// The CBLAS entry points that libmlx imports, answered by OpenBLAS.
//
// libmlx's wheel is linked against reference BLAS, which is 15 to 50 times slower. Symbols of
// the executable come first in the dynamic linker's search, so these definitions win. The
// OpenBLAS build used here prefixes its own symbols with scipy_.
//
// Threads are this file's, not OpenBLAS's: those wait for each other by spinning, so that one
// thread that another process keeps off its core stalls every product. Here a product is cut
// into pieces that threads take as they come; what a late helper does not take, the caller does.
// Pieces depend on the shape alone, and so does the result.

#define _GNU_SOURCE
#include "blas_linux.h"

#include "fewrows_linux.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "cblas.h"

static struct {
  __typeof__(&scipy_cblas_sgemm) sgemm;
  __typeof__(&scipy_cblas_sgemv) sgemv;
  __typeof__(&scipy_cblas_dgemm) dgemm;
  __typeof__(&scipy_cblas_cgemm) cgemm;
} openblas;

// OpenBLAS is loaded rather than linked: it starts its threads when it is loaded, and only its
// environment variable keeps it from that.
const char* blas_load(void) {
  if (openblas.sgemm != NULL) {
    return NULL;
  }
  setenv("OPENBLAS_NUM_THREADS", "1", 1);
  void* library = dlopen("libscipy_openblas.so", RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) {
    return dlerror();
  }
  // sgemm last: it says that all are there. dlerror tells of the latest call only.
  if ((openblas.sgemv = dlsym(library, "scipy_cblas_sgemv")) == NULL ||
      (openblas.dgemm = dlsym(library, "scipy_cblas_dgemm")) == NULL ||
      (openblas.cgemm = dlsym(library, "scipy_cblas_cgemm")) == NULL ||
      (openblas.sgemm = dlsym(library, "scipy_cblas_sgemm")) == NULL) {
    return dlerror();
  }
  return NULL;
}

// A piece is rows [first, first + count) of the result's columns.
typedef void (*piece_fn)(const void* product, blasint first, blasint count);

enum {
  max_threads = 64,
  spin_ns = 100 * 1000, // a helper spins this long for the next product, then sleeps
  closed = -1,
};

static struct {
  // The product under way, constant while the gate is open.
  piece_fn run;
  const void* product;
  blasint columns, piece;

  atomic_int next;     // next piece to take
  atomic_int gate;     // helpers inside, or closed
  atomic_uint turn;    // counts products
  atomic_int helpers;  // how many may help
  atomic_int sleeping;

  pthread_mutex_t busy; // held by the thread whose product it is
  pthread_mutex_t lock; // with wake, for sleeping helpers
  pthread_cond_t wake;
  int started;
} pool = {
    .gate = closed,
    .busy = PTHREAD_MUTEX_INITIALIZER,
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .wake = PTHREAD_COND_INITIALIZER,
};

static void pause_briefly(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static long long now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void take_pieces(void) {
  for (;;) {
    blasint first = (blasint)atomic_fetch_add_explicit(&pool.next, 1, memory_order_relaxed) * pool.piece;
    if (first >= pool.columns) {
      return;
    }
    blasint left = pool.columns - first;
    pool.run(pool.product, first, left < pool.piece ? left : pool.piece);
  }
}

// enter goes through the gate if it is open.
static bool enter(void) {
  int inside = atomic_load_explicit(&pool.gate, memory_order_relaxed);
  while (inside != closed) {
    if (atomic_compare_exchange_weak_explicit(
            &pool.gate, &inside, inside + 1, memory_order_acquire, memory_order_relaxed)) {
      return true;
    }
  }
  return false;
}

// wait_for_turn returns when a product begins that was not there at turn seen.
static unsigned wait_for_turn(unsigned seen) {
  long long until = now_ns() + spin_ns;
  for (;;) {
    for (int i = 0; i < 64; i++) {
      unsigned turn = atomic_load_explicit(&pool.turn, memory_order_acquire);
      if (turn != seen) {
        return turn;
      }
      pause_briefly();
    }
    if (now_ns() > until) {
      break;
    }
    sched_yield(); // the thread that prepares the next product may wait for this core
  }
  pthread_mutex_lock(&pool.lock);
  atomic_fetch_add(&pool.sleeping, 1);
  unsigned turn;
  while ((turn = atomic_load(&pool.turn)) == seen) {
    pthread_cond_wait(&pool.wake, &pool.lock);
  }
  atomic_fetch_sub(&pool.sleeping, 1);
  pthread_mutex_unlock(&pool.lock);
  return turn;
}

static void* help(void* index) {
  unsigned turn = 0;
  for (;;) {
    turn = wait_for_turn(turn);
    if ((int)(size_t)index < atomic_load(&pool.helpers) && enter()) {
      take_pieces();
      atomic_fetch_sub_explicit(&pool.gate, 1, memory_order_release);
    }
  }
  return NULL;
}

void blas_set_threads(int n) {
  if (n > max_threads) {
    n = max_threads;
  }
  pthread_mutex_lock(&pool.busy);
  while (pool.started < n - 1) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, help, (void*)(size_t)pool.started) != 0) {
      break; // fewer helpers: slower, not wrong
    }
    pthread_detach(thread);
    pool.started++;
  }
  atomic_store(&pool.helpers, n - 1 < pool.started ? n - 1 : pool.started);
  pthread_mutex_unlock(&pool.busy);
}

// share runs a product in pieces on all threads, or on this one if another product has them.
static void share(piece_fn run, const void* product, blasint columns, blasint piece) {
  if (columns <= piece || atomic_load(&pool.helpers) == 0 || pthread_mutex_trylock(&pool.busy) != 0) {
    for (blasint first = 0; first < columns; first += piece) {
      blasint left = columns - first;
      run(product, first, left < piece ? left : piece);
    }
    return;
  }
  pool.run = run;
  pool.product = product;
  pool.columns = columns;
  pool.piece = piece;
  atomic_store(&pool.next, 0);
  atomic_store_explicit(&pool.gate, 0, memory_order_release);
  atomic_fetch_add(&pool.turn, 1);
  if (atomic_load(&pool.sleeping) > 0) {
    pthread_mutex_lock(&pool.lock);
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
  }
  take_pieces();
  for (int spins = 0;; spins++) {
    int none = 0;
    if (atomic_compare_exchange_weak_explicit(
            &pool.gate, &none, closed, memory_order_acquire, memory_order_relaxed)) {
      break;
    }
    if (spins < 1000) {
      pause_briefly();
    } else {
      sched_yield(); // the helper may wait for this core
    }
  }
  pthread_mutex_unlock(&pool.busy);
}

void blas_share(void (*run)(const void* job, int first, int count), const void* job, int n, int piece) {
  share(run, job, n, piece);
}

void blas_multiply(int m, int n, int k, const float* a, const float* b, float* c, long ldc) {
  openblas.sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, k, 1, a, k, b, k, 0, c, ldc);
}

int blas_piece_of(int n, int least, int most) {
  int piece = (n / 16 + 15) / 16 * 16;
  return piece < least ? least : piece > most ? most : piece;
}

struct product {
  enum CBLAS_TRANSPOSE trans_a, trans_b;
  blasint m, k, lda, ldb, ldc;
  float alpha, beta;
  const float *a, *b;
  float* c;
};

static const float* columns_of_b(const struct product* p, blasint first) {
  return p->trans_b == CblasNoTrans ? p->b + first : p->b + (long)first * p->ldb;
}

static void gemm_piece(const void* product, blasint first, blasint count) {
  const struct product* p = product;
  openblas.sgemm(
      CblasRowMajor, p->trans_a, p->trans_b, p->m, count, p->k, p->alpha, p->a, p->lda, columns_of_b(p, first), p->ldb,
      p->beta, p->c + first, p->ldc);
}

// One row times a matrix is a matrix-vector product. gemm would first pack the whole matrix;
// gemv streams it once.
static void gemv_piece(const void* product, blasint first, blasint count) {
  const struct product* p = product;
  const float* b = columns_of_b(p, first);
  if (p->trans_b == CblasNoTrans) {
    openblas.sgemv(CblasRowMajor, CblasTrans, p->k, count, p->alpha, b, p->ldb, p->a, 1, p->beta, p->c + first, 1);
  } else {
    openblas.sgemv(CblasRowMajor, CblasNoTrans, count, p->k, p->alpha, b, p->ldb, p->a, 1, p->beta, p->c + first, 1);
  }
}

static void few_rows_piece(const void* product, blasint first, blasint count) {
  const struct product* p = product;
  few_rows((struct few_rows_product){
      .m = p->m, .n = count, .k = p->k,
      .alpha = p->alpha, .beta = p->beta,
      .a = p->a, .b = columns_of_b(p, first), .c = p->c + first,
      .lda = p->lda, .ldb = p->ldb, .ldc = p->ldc,
  });
}

#define EXPORTED __attribute__((visibility("default"), used))

EXPORTED void cblas_sgemm(
    enum CBLAS_ORDER order,
    enum CBLAS_TRANSPOSE trans_a,
    enum CBLAS_TRANSPOSE trans_b,
    blasint m,
    blasint n,
    blasint k,
    float alpha,
    const float* a,
    blasint lda,
    const float* b,
    blasint ldb,
    float beta,
    float* c,
    blasint ldc) {
  if (order != CblasRowMajor) {
    openblas.sgemm(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    return;
  }
  struct product p = {trans_a, trans_b, m, k, lda, ldb, ldc, alpha, beta, a, b, c};
  if (m <= few_rows_most && trans_a == CblasNoTrans && trans_b == CblasTrans && few_rows_supported()) {
    share(few_rows_piece, &p, n, blas_piece_of(n, 48, 1024));
  } else if (m == 1 && trans_a == CblasNoTrans) {
    share(gemv_piece, &p, n, blas_piece_of(n, 48, 1024));
  } else {
    share(gemm_piece, &p, n, blas_piece_of(n, 96, 512));
  }
}

EXPORTED void cblas_dgemm(
    enum CBLAS_ORDER order,
    enum CBLAS_TRANSPOSE trans_a,
    enum CBLAS_TRANSPOSE trans_b,
    blasint m,
    blasint n,
    blasint k,
    double alpha,
    const double* a,
    blasint lda,
    const double* b,
    blasint ldb,
    double beta,
    double* c,
    blasint ldc) {
  openblas.dgemm(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

EXPORTED void cblas_cgemm(
    enum CBLAS_ORDER order,
    enum CBLAS_TRANSPOSE trans_a,
    enum CBLAS_TRANSPOSE trans_b,
    blasint m,
    blasint n,
    blasint k,
    const void* alpha,
    const void* a,
    blasint lda,
    const void* b,
    blasint ldb,
    const void* beta,
    void* c,
    blasint ldc) {
  openblas.cgemm(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
