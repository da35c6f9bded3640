/* SPDX-License-Identifier: MIT-0 */
/* What kernels of Winograd's F(2x2, 3x3) and F(2, 3) share: the walk over pairs of tiles in raster order.
 *
 * A pair is 2x4 outputs of 4x6 inputs, and in one dimension 1x4 of 1x6. Where it needs padding, its inputs are copied
 * together first; where it juts out of the image or the last block out of the channels, its outputs are made aside and
 * copied. All inputs of a pair are read before its first output is written.
 */
#ifndef DFQ_WINOGRAD_H
#define DFQ_WINOGRAD_H

#include "dfq_common.h"

/* Words of sums at each position: [2 tiles][4 channels]. */
#define DFQ_WINOGRAD_SUMS 8

/* Products of a tile, and rows of a pair. */
typedef struct {
    int32_t positions, out_rows, in_rows;
} dfq_winograd_tiles_t;

#define DFQ_WINOGRAD_SQUARE { 16, 2, 4 } /* F(2x2, 3x3) */
#define DFQ_WINOGRAD_LINE { 4, 1, 1 }    /* F(2, 3) */

typedef struct {
    int32_t in_height, in_width, in_channels; /* in_channels a multiple of 4 */
    int32_t out_height, out_width, out_channels;
    int32_t pad_top, pad_left, pad_value;
} dfq_winograd_shape_t;

/* Where outputs of two tiles go: pixels and rows so many bytes apart. */
typedef struct {
    int8_t *out;
    int32_t pixel_bytes, row_bytes;
} dfq_winograd_place_t;

/* `rows` of 6 pixels, some of them padding, side by side. */
DFQ_PART void dfq_winograd_gather(const dfq_winograd_shape_t *shape, int32_t rows, const int8_t *x, int32_t iy,
                                  int32_t ix, int8_t *patch)
{
    const int32_t channels = shape->in_channels;
    const int32_t left = dfq_min(dfq_max(-ix, 0), 6);
    const int32_t end = dfq_max(dfq_min(shape->in_width - ix, 6), left);
    for (int32_t row = iy; row < iy + rows; row++, patch += 6 * channels) {
        if (row < 0 || row >= shape->in_height) {
            dfq_fill(patch, shape->pad_value, 6 * channels);
            continue;
        }
        dfq_fill(patch, shape->pad_value, left * channels);
        dfq_fill(patch + end * channels, shape->pad_value, (6 - end) * channels);
        if (end > left) {
            const int8_t *from = x + (row * shape->in_width + ix + left) * channels;
            dfq_copy(patch + left * channels, from, (end - left) * channels);
        }
    }
}

/* Transforms rows of 6 pixels from `x` on. */
typedef void dfq_winograd_inputs_t(const void *layer, const int8_t *x, int32_t row_bytes, dfq_word_t *columns);
/* Makes the outputs of two tiles from their transformed inputs. */
typedef void dfq_winograd_outputs_t(const void *layer, const dfq_word_t *columns, dfq_word_t *sums,
                                    dfq_winograd_place_t place);

/* `scratch` begins with words of transformed inputs, `position_words` of each position. */
DFQ_INLINE void dfq_winograd_walk(dfq_winograd_inputs_t *inputs, dfq_winograd_outputs_t *outputs, const void *layer,
                                  const dfq_winograd_shape_t *shape, dfq_winograd_tiles_t tiles, const int8_t *x,
                                  int8_t *y, int8_t *scratch, int32_t position_words)
{
    const int32_t channels = shape->out_channels;
    const int32_t padded = (channels + 3) / 4 * 4;
    const int32_t in_row = shape->in_width * shape->in_channels;
    const int32_t out_row = shape->out_width * channels;
    dfq_word_t *const columns = (dfq_word_t *)(void *)scratch;
    dfq_word_t *const sums = columns + tiles.positions * position_words;
    int8_t *const patch = (int8_t *)sums; /* used up before the sums are made */
    int8_t *const aside = (int8_t *)(sums + DFQ_WINOGRAD_SUMS * tiles.positions);
    for (int32_t oy = 0; oy < shape->out_height; oy += tiles.out_rows) {
        const int32_t iy = oy - shape->pad_top;
        const int32_t height = dfq_min(tiles.out_rows, shape->out_height - oy);
        for (int32_t ox = 0; ox < shape->out_width; ox += 4) {
            const int32_t ix = ox - shape->pad_left;
            const int32_t width = dfq_min(4, shape->out_width - ox);
            if (iy >= 0 && iy + tiles.in_rows <= shape->in_height && ix >= 0 && ix + 6 <= shape->in_width) {
                inputs(layer, x + iy * in_row + ix * shape->in_channels, in_row, columns);
            } else {
                dfq_winograd_gather(shape, tiles.in_rows, x, iy, ix, patch);
                inputs(layer, patch, 6 * shape->in_channels, columns);
            }
            int8_t *const out = y + oy * out_row + ox * channels;
            const bool whole = height == tiles.out_rows && width == 4 && channels == padded;
            const dfq_winograd_place_t place = {
                whole ? out : aside,
                whole ? channels : padded,
                whole ? out_row : 4 * padded,
            };
            outputs(layer, columns, sums, place);
            for (int32_t row = 0; !whole && row < height; row++) {
                for (int32_t pixel = 0; pixel < width; pixel++) {
                    dfq_copy(out + row * out_row + pixel * channels, aside + (4 * row + pixel) * padded, channels);
                }
            }
        }
    }
}

#endif
