/* SPDX-License-Identifier: MIT-0 */
/* What kernels of Winograd's algorithm share on the Arm DSP extension: the products, and a layer's blocks.
 *
 * The stream of a block of four output channels: for each position of a tile and each pair of input channels (c, c + 2)
 * the transformed weights of the four channels, a word each; the 4 biases as often as the sums of products are the
 * convolution's; the 4 multipliers. Input channels are padded with zeros to whole groups of 8.
 */
#ifndef DFQ_DSP_WINOGRAD_H
#define DFQ_DSP_WINOGRAD_H

#include "../portable/dfq_winograd.h"
#include "dfq_dsp.h"

typedef struct {
    const int32_t *stream;
    dfq_dsp_bounds_t bounds;
    int32_t zero_point;
    dfq_winograd_shape_t shape;
} dfq_winograd3x3_s8s8_dsp_t;

/* Of transformed inputs at one position: four steps of two words, one of each tile, and what comes next. */
#define DFQ_DSP_WINOGRAD_GROUP_WORDS 9

/* What comes after a group: another of the same position, another position, or nothing. */
DFQ_SHARED void dfq_dsp_winograd_marks(dfq_word_t *columns, int32_t positions, int32_t groups)
{
    for (int32_t position = 0; position < positions; position++) {
        for (int32_t group = 0; group < groups; group++, columns += DFQ_DSP_WINOGRAD_GROUP_WORDS) {
            for (int32_t i = 0; i < DFQ_DSP_WINOGRAD_GROUP_WORDS; i++) {
                columns[i] = 0;
            }
            if (group == groups - 1) {
                columns[8] = position < positions - 1 ? 1u : UINT32_MAX;
            }
        }
    }
}

/* Sums of one block: [positions][2 tiles][4 channels]. */
#if DFQ_DSP_ASM

/* clang-format off */
/* Two input channels of two tiles, four output channels: 16 products in 11 instructions. */
#define DFQ_DSP_WINOGRAD_STEP(load, op, acc)                              \
    load                                                                  \
    "ldrd r12, lr, [r1], #8\n"                                            \
    op " r4, r2, r12" acc("r4")                                           \
    op " r5, r2, lr" acc("r5")                                            \
    op " r8, r3, r12" acc("r8")                                           \
    op " r9, r3, lr" acc("r9")                                            \
    "ldrd r12, lr, [r1], #8\n"                                            \
    op " r6, r2, r12" acc("r6")                                           \
    op " r7, r2, lr" acc("r7")                                            \
    op " r10, r3, r12" acc("r10")                                         \
    op " r11, r3, lr" acc("r11")
#define DFQ_DSP_WINOGRAD_ADD(acc) ", " acc "\n"
#define DFQ_DSP_WINOGRAD_SET(acc) "\n"
#define DFQ_DSP_WINOGRAD_PAIR "ldrd r2, r3, [r0], #8\n"
#define DFQ_DSP_WINOGRAD_MARK "ldm r0!, {r2, r3, r12}\n" "cmp r12, #0\n"
#define DFQ_DSP_WINOGRAD_NEXT DFQ_DSP_WINOGRAD_STEP(DFQ_DSP_WINOGRAD_PAIR, "smlad", DFQ_DSP_WINOGRAD_ADD)
#define DFQ_DSP_WINOGRAD_REST                                             \
    DFQ_DSP_WINOGRAD_NEXT                                                 \
    DFQ_DSP_WINOGRAD_NEXT                                                 \
    DFQ_DSP_WINOGRAD_STEP(DFQ_DSP_WINOGRAD_MARK, "smlad", DFQ_DSP_WINOGRAD_ADD)

/* r0 columns, r1 stream, on the stack where sums go; r4-r7 (r8-r11) sums of the first (second) tile. */
DFQ_DSP_NAKED void dfq_dsp_winograd_sums(DFQ_UNUSED const dfq_word_t *columns,
                                         DFQ_UNUSED const int32_t *stream, DFQ_UNUSED dfq_word_t *sums)
{
    __asm__ volatile(
        "push {r2, r4-r11, lr}\n"
        "1:\n"
        DFQ_DSP_WINOGRAD_STEP(DFQ_DSP_WINOGRAD_PAIR, "smuad", DFQ_DSP_WINOGRAD_SET)
        DFQ_DSP_WINOGRAD_REST
        "bne 3f\n"
        "2:\n"
        DFQ_DSP_WINOGRAD_NEXT
        DFQ_DSP_WINOGRAD_REST
        "beq 2b\n"
        "3:\n"
        "ldr r2, [sp]\n"
        "stm r2!, {r4-r11}\n"
        "str r2, [sp]\n"
        "bgt 1b\n"
        "pop {r2, r4-r11, pc}\n");
}
/* clang-format on */

#else

DFQ_SHARED void dfq_dsp_winograd_sums(const dfq_word_t *columns, const int32_t *stream, dfq_word_t *sums)
{
    uint32_t mark;
    do {
        for (int32_t i = 0; i < 8; i++) {
            sums[i] = 0;
        }
        do {
            for (int32_t step = 0; step < 4; step++, columns += 2, stream += 4) {
                for (int32_t i = 0; i < 8; i++) {
                    const int32_t sum = (int32_t)sums[i];
                    sums[i] = (uint32_t)dfq_dsp_mac(columns[i / 4], (uint32_t)stream[i % 4], sum);
                }
            }
            mark = *columns++;
        } while (mark == 0);
        sums += 8;
    } while (mark == 1);
}

#endif

/* 2^shift times the sum of a convolution becomes an output. */
DFQ_INLINE int8_t dfq_dsp_winograd_scale(uint32_t sum, int32_t shift, int32_t multiplier, int32_t zero_point)
{
    const int32_t exact = dfq_shift_right((int32_t)sum, shift);
    return (int8_t)dfq_dsp_saturate(dfq_dsp_scale(exact, multiplier, zero_point));
}

/* Outputs of four channels of two tiles from their sums, with `scales`: biases and multipliers. */
typedef void dfq_dsp_winograd_outputs_t(const dfq_word_t *sums, const int32_t *scales, int32_t zero_point, int8_t *out,
                                        int32_t pixel_bytes, int32_t row_bytes);

/* All channels of two tiles. */
DFQ_INLINE void dfq_dsp_winograd_blocks(const dfq_winograd3x3_s8s8_dsp_t *layer, dfq_winograd_tiles_t tiles,
                                        dfq_dsp_winograd_outputs_t *outputs, const dfq_word_t *columns,
                                        dfq_word_t *sums, dfq_winograd_place_t place)
{
    const int32_t block_words = tiles.positions * 16 * ((layer->shape.in_channels + 7) / 8);
    const int32_t *stream = layer->stream;
    for (int32_t c = 0; c < layer->shape.out_channels; c += 4) {
        dfq_dsp_winograd_sums(columns, stream, sums);
        stream += block_words;
        outputs(sums, stream, layer->zero_point, place.out + c, place.pixel_bytes, place.row_bytes);
        stream += 8;
    }
    for (int32_t i = 0; DFQ_DSP_IS_NARROW(&layer->bounds) && i < 4 * tiles.out_rows; i++) {
        int8_t *const pixel = place.out + i / 4 * place.row_bytes + i % 4 * place.pixel_bytes;
        dfq_dsp_clamp_pixels(&layer->bounds, pixel, 1, layer->shape.out_channels);
    }
}

#endif
