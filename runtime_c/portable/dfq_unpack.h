/* SPDX-License-Identifier: MIT-0 */
/* Weights of 2, 3, 4 or 6 bits, packed in flash, to bytes in scratch.
 *
 * A weight is stored as the unsigned number w + 2^(bits - 1). Words hold fields of one width, little endian: field i
 * of byte j is weight j + 4 i of those the word belongs to. Groups of 32 weights take one word a bit:
 *
 *   bits   words of a group
 *   2      two of 2-bit fields, 16 weights each
 *   3      the same for the upper two bits, then one of 1-bit fields for the lowest bit of all 32
 *   4      four of 4-bit fields, 8 weights each
 *   6      the same for the upper four bits, then two of 2-bit fields for the lower two
 *
 * So whole words of weights come out by shifts and masks, and no bit is wasted but the padding of the last group.
 * For Helium the same with vectors of 16 bytes for words, hence groups of 128 weights. The bytes come out in the same
 * order on a core with the most significant byte first.
 */
#ifndef DFQ_UNPACK_H
#define DFQ_UNPACK_H

#include "dfq_common.h"

/* The constants of a layer, unpacked a chunk of output channels at a time, each chunk padded to whole groups. */
typedef struct {
    const DFQ_FLASH uint32_t *words;
    int32_t bits;
    int32_t channels; /* of a chunk; the last one may have fewer */
} dfq_packed_t;

#define DFQ_GROUP 32 /* weights */

/* Four copies of a byte. */
DFQ_INLINE uint32_t dfq_bytes(uint32_t byte)
{
    return byte * 0x01010101u;
}

/* Four weights from their unsigned fields, one a byte: subtracts 2^(bits - 1) without a borrow between bytes. */
DFQ_INLINE uint32_t dfq_signed_bytes(uint32_t fields, int32_t bits)
{
    return (fields + dfq_bytes(0x80u - (1u << (bits - 1)))) ^ dfq_bytes(0x80u);
}

/* A word whose least significant byte shall come first in memory. */
DFQ_INLINE uint32_t dfq_little_endian(uint32_t word)
{
#if defined(__BYTE_ORDER__) && defined(__ORDER_BIG_ENDIAN__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return word >> 24 | (word >> 8 & 0xff00u) | (word << 8 & 0xff0000u) | word << 24;
#else
    return word;
#endif
}

DFQ_INLINE void dfq_unpack_group(const DFQ_FLASH uint32_t *words, int32_t bits, dfq_word_t *to)
{
    if (bits == 4) {
        for (int32_t i = 0; i < 4; i++) {
            to[2 * i] = dfq_little_endian(dfq_signed_bytes(words[i] & dfq_bytes(15), 4));
            to[2 * i + 1] = dfq_little_endian(dfq_signed_bytes(words[i] >> 4 & dfq_bytes(15), 4));
        }
    } else if (bits == 2) {
        for (int32_t i = 0; i < 8; i++) {
            to[i] = dfq_little_endian(dfq_signed_bytes(words[i / 4] >> (2 * (i % 4)) & dfq_bytes(3), 2));
        }
    } else if (bits == 6) {
        for (int32_t i = 0; i < 8; i++) {
            const uint32_t upper = words[i / 2] >> (4 * (i % 2)) & dfq_bytes(15);
            const uint32_t lower = words[4 + i / 4] >> (2 * (i % 4)) & dfq_bytes(3);
            to[i] = dfq_little_endian(dfq_signed_bytes(upper << 2 | lower, 6));
        }
    } else {
        for (int32_t i = 0; i < 8; i++) {
            const uint32_t upper = words[i / 4] >> (2 * (i % 4)) & dfq_bytes(3);
            const uint32_t lower = words[2] >> i & dfq_bytes(1);
            to[i] = dfq_little_endian(dfq_signed_bytes(upper << 1 | lower, 3));
        }
    }
}

/* `count` weights to `to`, word aligned, with room for whole groups; returns the words after them. */
DFQ_NOINLINE const DFQ_FLASH uint32_t *dfq_unpack(const DFQ_FLASH uint32_t *words, int32_t bits, int32_t count,
                                                  int8_t *to)
{
    dfq_word_t *out = (dfq_word_t *)(void *)to;
    for (int32_t i = 0; i < count; i += DFQ_GROUP) {
        /* Constant widths, so that no loop asks for them. */
        switch (bits) {
        case 2:
            dfq_unpack_group(words, 2, out);
            break;
        case 3:
            dfq_unpack_group(words, 3, out);
            break;
        case 4:
            dfq_unpack_group(words, 4, out);
            break;
        default:
            dfq_unpack_group(words, 6, out);
            break;
        }
        words += bits;
        out += DFQ_GROUP / 4;
    }
    return words;
}

/* Bytes that a chunk takes in scratch. */
DFQ_INLINE int32_t dfq_chunk_bytes(const dfq_packed_t *packed, int32_t depth)
{
    return (packed->channels * depth + DFQ_GROUP - 1) / DFQ_GROUP * DFQ_GROUP;
}

#endif
