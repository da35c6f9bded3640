/* SPDX-License-Identifier: MIT-0 */
/* Axes of an int8 tensor in another order; up to four axes after the compiler has merged those that stay together.
 *
 *   out [size[0]][size[1]][size[2]][size[3]], element (i, j, k, l) is
 *   x[i * pitch[0] + j * pitch[1] + k * pitch[2] + l * pitch[3]]
 *
 * Equals QTranspose bit for bit; `out` and `x` are disjoint.
 * Tested by tests/kernels/test_portable.py.
 */
#ifndef DFQ_TRANSPOSE_X8_H
#define DFQ_TRANSPOSE_X8_H

#include "dfq_common.h"

typedef struct {
    int32_t size[4], pitch[4];
} dfq_transpose_x8_t;

DFQ_KERNEL void dfq_transpose_x8(const dfq_transpose_x8_t *layer, const int8_t *x, int8_t *out)
{
    for (int32_t i = 0; i < layer->size[0]; i++) {
        for (int32_t j = 0; j < layer->size[1]; j++) {
            for (int32_t k = 0; k < layer->size[2]; k++) {
                const int8_t *from = x + i * layer->pitch[0] + j * layer->pitch[1] + k * layer->pitch[2];
                for (int32_t l = 0; l < layer->size[3]; l++, from += layer->pitch[3]) {
                    *out++ = *from;
                }
            }
        }
    }
}

#endif
