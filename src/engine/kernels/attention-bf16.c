/* Attention whose products take operands rounded to bf16; softmax and sums are in f32. */
#define BF16_PRODUCTS
#include "attention.h"
