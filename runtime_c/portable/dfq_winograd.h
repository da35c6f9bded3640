/* SPDX-License-Identifier: MIT-0 */
/* What kernels of Winograd's F(2x2, 3x3) share: the walk over pairs of tiles, 2x4 outputs, in raster order.
 *
 * Where a pair of tiles needs padding, its 4x6 inputs are copied together first; where it juts out of the image or
 * the last block out of the channels, its outputs are made aside and copied. All inputs of a pair are read before its
 * first output is written.
 */
#ifndef DFQ_WINOGRAD_H
#define DFQ_WINOGRAD_H

#include "dfq_common.h"

#define DFQ_WINOGRAD_POSITIONS 16
/* Of a block of four channels: [16 positions][2 tiles][4 channels]. */
#define DFQ_WINOGRAD_SUMS 128

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

/* 4 rows of 6 pixels, some of them padding, side by side. */
DFQ_PART void dfq_winograd_gather(const dfq_winograd_shape_t *shape, const int8_t *x, int32_t iy, int32_t ix,
                                  int8_t *patch)
{
    const int32_t channels = shape->in_channels;
    const int32_t left = dfq_min(dfq_max(-ix, 0), 6);
    const int32_t end = dfq_max(dfq_min(shape->in_width - ix, 6), left);
    for (int32_t row = iy; row < iy + 4; row++, patch += 6 * channels) {
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

/* Transforms 4 rows of 6 pixels from `x` on. */
typedef void dfq_winograd_inputs_t(const void *layer, const int8_t *x, int32_t row_bytes, dfq_word_t *columns);
/* Makes the outputs of two tiles from their transformed inputs. */
typedef void dfq_winograd_outputs_t(const void *layer, const dfq_word_t *columns, dfq_word_t *sums,
                                    dfq_winograd_place_t place);

/* `scratch` begins with `column_words` words of transformed inputs. */
DFQ_INLINE void dfq_winograd_walk(dfq_winograd_inputs_t *inputs, dfq_winograd_outputs_t *outputs, const void *layer,
                                  const dfq_winograd_shape_t *shape, const int8_t *x, int8_t *y, int8_t *scratch,
                                  int32_t column_words)
{
    const int32_t channels = shape->out_channels;
    const int32_t padded = (channels + 3) / 4 * 4;
    const int32_t in_row = shape->in_width * shape->in_channels;
    const int32_t out_row = shape->out_width * channels;
    dfq_word_t *const columns = (dfq_word_t *)(void *)scratch;
    dfq_word_t *const sums = columns + column_words;
    int8_t *const patch = (int8_t *)sums; /* used up before the sums are made */
    int8_t *const aside = (int8_t *)(sums + DFQ_WINOGRAD_SUMS);
    for (int32_t oy = 0; oy < shape->out_height; oy += 2) {
        const int32_t iy = oy - shape->pad_top;
        const int32_t height = dfq_min(2, shape->out_height - oy);
        for (int32_t ox = 0; ox < shape->out_width; ox += 4) {
            const int32_t ix = ox - shape->pad_left;
            const int32_t width = dfq_min(4, shape->out_width - ox);
            if (iy >= 0 && iy + 4 <= shape->in_height && ix >= 0 && ix + 6 <= shape->in_width) {
                inputs(layer, x + iy * in_row + ix * shape->in_channels, in_row, columns);
            } else {
                dfq_winograd_gather(shape, x, iy, ix, patch);
                inputs(layer, patch, 6 * shape->in_channels, columns);
            }
            int8_t *const out = y + oy * out_row + ox * channels;
            const bool whole = height == 2 && width == 4 && channels == padded;
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
