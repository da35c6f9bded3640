/* SPDX-License-Identifier: MIT-0 */
/* Rows of a table by their numbers, int8 or int16 each.
 *
 *   x      [count], a row's number and `zero_point`; one outside the table stands for the nearest
 *   table  [rows][bytes]: the integers of a row
 *   out    [count][bytes]
 *
 * `out` overlaps no input. Equals QEmbedding bit for bit.
 * Tested by tests/kernels/test_embedding.py.
 */
#ifndef DFQ_EMBEDDING_S16_H
#define DFQ_EMBEDDING_S16_H

#include "dfq_wide_s16.h"

typedef struct {
    const DFQ_FLASH int8_t *table; /* NULL where the rows are int16 */
    const DFQ_FLASH int16_t *wide_table;
    int32_t count, last, channels, zero_point;
    int32_t in_wide;
} dfq_embedding_s16_t;

DFQ_KERNEL void dfq_embedding_s16(const dfq_embedding_s16_t *layer, const int8_t *x, int8_t *out)
{
    const int32_t channels = layer->channels;
    for (int32_t i = 0; i < layer->count; i++) {
        const int32_t number = dfq_load(x, layer->in_wide, i) - layer->zero_point;
        const int32_t row = (number < 0 ? 0 : number > layer->last ? layer->last : number) * channels;
        if (layer->table != NULL) {
            for (int32_t c = 0; c < channels; c++) {
                out[i * channels + c] = layer->table[row + c];
            }
        } else {
            for (int32_t c = 0; c < channels; c++) {
                dfq_store(out, 1, i * channels + c, layer->wide_table[row + c]);
            }
        }
    }
}

#endif
