/* SPDX-License-Identifier: MIT-0 */
/* A function of each int8 element, as a table; Arm DSP extension, four elements a word.
 *
 *   y[i] = table[x[i] + 128]
 *
 * A word is written after it is read: `y` may be `x`. Equals QLookup bit for bit.
 * Tested by tests/kernels/test_dsp.py and, on the instructions, test_dsp_qemu.py.
 */
#ifndef DFQ_LOOKUP_S8_DSP_H
#define DFQ_LOOKUP_S8_DSP_H

#include "dfq_dsp.h"

typedef struct {
    const int8_t *table; /* [256], by the element's unsigned byte: rotated by 128 */
    int32_t elements;
} dfq_lookup_s8_dsp_t;

DFQ_KERNEL void dfq_lookup_s8_dsp(const dfq_lookup_s8_dsp_t *layer, const int8_t *x, int8_t *y)
{
    const uint8_t *table = (const uint8_t *)(const void *)layer->table;
    const int8_t *const end = x + (layer->elements & ~3);
    for (; x != end; x += 4, y += 4) {
        const uint32_t word = dfq_dsp_load(x);
        const uint32_t low = table[word & 0xFFu] | (uint32_t)table[word >> 8 & 0xFFu] << 8;
        const uint32_t high = table[word >> 16 & 0xFFu] | (uint32_t)table[word >> 24] << 8;
        dfq_dsp_store(y, low | high << 16);
    }
    for (int32_t i = 0; i < (layer->elements & 3); i++) {
        y[i] = (int8_t)table[(uint8_t)x[i]];
    }
}

#endif
