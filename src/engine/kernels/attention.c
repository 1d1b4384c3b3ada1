/* Attention in f32. */
#include "attention.h"
