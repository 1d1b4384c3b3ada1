/* Attention in f32. */
#include "attention.h"

struct WindowStartsArgs {
  const int32_t *documents;
  int32_t *starts;
  int64_t batch, length, window;
};

/* The first key that each query sees: its document's first (`documents`, or 0 where that is null), or the first of its window. */
void windowStarts(const struct WindowStartsArgs *args) {
  const struct WindowStartsArgs s = *args;
  for (int64_t sequence = 0; sequence < s.batch; sequence++)
    for (int64_t i = 0; i < s.length; i++) {
      const int64_t row = sequence * s.length + i, document = s.documents ? s.documents[row] : 0, first = i - s.window + 1;
      s.starts[row] = (int32_t)(document > first ? document : first > 0 ? first : 0);
    }
}
