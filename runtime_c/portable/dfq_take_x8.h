/* SPDX-License-Identifier: MIT-0 */
/* Elements of an int8 tensor by tables of positions: nearest resizing, reflected borders, gathers.
 *
 *   out [sizes[0]][sizes[1]][sizes[2]][run], element (i, j, k, n) is x[first[i] + second[j] + third[k] + n]
 *
 * The tables hold distances in elements; a NULL table is one position at 0. Equals QTake bit for bit; `out`
 * and `x` are disjoint.
 * Tested by tests/kernels/test_portable_more.py.
 */
#ifndef DFQ_TAKE_X8_H
#define DFQ_TAKE_X8_H

#include "dfq_common.h"

typedef struct {
    const DFQ_FLASH int32_t *first; /* [sizes[0]] */
    const DFQ_FLASH int32_t *second;
    const DFQ_FLASH int32_t *third;
    int32_t sizes[3];
    int32_t run;
} dfq_take_x8_t;

DFQ_KERNEL void dfq_take_x8(const dfq_take_x8_t *layer, const int8_t *x, int8_t *out)
{
    for (int32_t i = 0; i < layer->sizes[0]; i++) {
        const int8_t *plane = x + (layer->first != NULL ? layer->first[i] : 0);
        for (int32_t j = 0; j < layer->sizes[1]; j++) {
            const int8_t *line = plane + (layer->second != NULL ? layer->second[j] : 0);
            for (int32_t k = 0; k < layer->sizes[2]; k++, out += layer->run) {
                dfq_copy(out, line + (layer->third != NULL ? layer->third[k] : 0), layer->run);
            }
        }
    }
}

#endif
