/* SPDX-License-Identifier: MIT-0 */
/* What portable kernels of Winograd's algorithm share: a layer's blocks of four channels, and their outputs. */
#ifndef DFQ_WINOGRAD_BLOCKS_H
#define DFQ_WINOGRAD_BLOCKS_H

#include "dfq_winograd.h"
#include "dfq_winograd_sums.h"

typedef struct {
    const DFQ_FLASH int16_t *weight;
    const DFQ_FLASH int32_t *bias;
    dfq_requantize_t requantize;
    dfq_winograd_shape_t shape;
} dfq_winograd3x3_s8s8_t;

DFQ_SHARED void dfq_winograd_marks(dfq_word_t *columns, int32_t positions, int32_t groups)
{
    for (int32_t position = 0; position < positions; position++) {
        for (int32_t group = 0; group < groups; group++, columns += DFQ_WINOGRAD_GROUP_WORDS) {
            const uint32_t last = position < positions - 1 ? 1u : UINT32_MAX;
            columns[DFQ_WINOGRAD_GROUP_WORDS - 1] = group < groups - 1 ? 0u : last;
        }
    }
}

/* An output from 2^shift times the sum of its products. */
DFQ_INLINE int8_t dfq_winograd_requantize(const dfq_winograd3x3_s8s8_t *layer, uint32_t sum, int32_t shift,
                                          int32_t channel)
{
    const int32_t acc = dfq_shift_right((int32_t)sum, shift) + layer->bias[channel];
    return dfq_requantize(&layer->requantize, acc, channel);
}

/* Outputs of one channel of one tile from its sums. */
typedef void dfq_winograd_tile_t(const dfq_winograd3x3_s8s8_t *layer, const dfq_word_t *sums, int32_t channel,
                                 int32_t pixel_bytes, int32_t row_bytes, int8_t *out);

/* All channels of two tiles. */
DFQ_INLINE void dfq_winograd_blocks(const dfq_winograd3x3_s8s8_t *layer, dfq_winograd_tiles_t tiles,
                                    dfq_winograd_tile_t *tile, const dfq_word_t *columns, dfq_word_t *sums,
                                    dfq_winograd_place_t place)
{
    const DFQ_FLASH int16_t *weight = layer->weight;
    for (int32_t c = 0; c < layer->shape.out_channels; c += 4) {
        dfq_winograd_sums(columns, weight, sums);
        weight += tiles.positions * 4 * layer->shape.in_channels;
        const int32_t count = dfq_min(4, layer->shape.out_channels - c);
        for (int32_t i = 0; i < count; i++) {
            int8_t *const out = place.out + c + i;
            tile(layer, sums + i, c + i, place.pixel_bytes, place.row_bytes, out);
            tile(layer, sums + 4 + i, c + i, place.pixel_bytes, place.row_bytes, out + 2 * place.pixel_bytes);
        }
    }
}

#endif
