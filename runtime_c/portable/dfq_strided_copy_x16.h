/* SPDX-License-Identifier: MIT-0 */
/* Elements of an int16 tensor at regular distances, in another order.
 *
 *   out [size[0]] ... [size[5]], element (i, ..., n) is x[offset + i * pitch[0] + ... + n * pitch[5]]
 *
 * As dfq_strided_copy_x8.h, in elements of two bytes. Equals QTake (regular ones) and QTranspose bit for bit; `out` and
 * `x` are disjoint.
 * Tested by tests/kernels/test_portable_more.py.
 */
#ifndef DFQ_STRIDED_COPY_X16_H
#define DFQ_STRIDED_COPY_X16_H

#include "dfq_common.h"

typedef struct {
    int32_t size[6], pitch[6];
    int32_t offset;
} dfq_strided_copy_x16_t;

DFQ_KERNEL void dfq_strided_copy_x16(const dfq_strided_copy_x16_t *layer, const int8_t *x, int8_t *out)
{
    const int32_t *size = layer->size;
    const int32_t *pitch = layer->pitch;
    const int32_t run = size[5];
    const dfq_half_t *from = (const dfq_half_t *)(const void *)x + layer->offset;
    dfq_half_t *to = (dfq_half_t *)(void *)out;
    for (int32_t i = 0; i < size[0]; i++) {
        for (int32_t j = 0; j < size[1]; j++) {
            for (int32_t k = 0; k < size[2]; k++) {
                for (int32_t l = 0; l < size[3]; l++) {
                    const dfq_half_t *line = from + (i * pitch[0] + j * pitch[1] + k * pitch[2] + l * pitch[3]);
                    for (int32_t m = 0; m < size[4]; m++, line += pitch[4], to += run) {
                        if (pitch[5] == 1) {
                            dfq_copy((int8_t *)to, (const int8_t *)line, 2 * run);
                        } else {
                            for (int32_t n = 0; n < run; n++) {
                                to[n] = line[n * pitch[5]];
                            }
                        }
                    }
                }
            }
        }
    }
}

#endif
