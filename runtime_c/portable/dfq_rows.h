/* SPDX-License-Identifier: MIT-0 */
/* Tensors of which only a few rows are in memory, for layers that run row by row.
 *
 * A band holds rows first ... end - 1 of a tensor [height][row_bytes], one after the other from the start of its
 * buffer. Row numbers below 0 and from `height` on are padding. New rows go behind the last; where there is no room
 * for them, the rows that are still wanted move to the front first. The compiler has found the capacity that the
 * schedule needs by running it on row numbers.
 */
#ifndef DFQ_ROWS_H
#define DFQ_ROWS_H

#include "dfq_common.h"

typedef struct {
    int32_t offset;    /* of the buffer in the arena */
    int32_t row_bytes; /* of one row */
    int32_t capacity;  /* rows in the buffer */
    int32_t above;     /* rows of padding above the first */
    int32_t height;    /* rows of the tensor */
    int32_t wanted;    /* rows that anything reads, padding below the last included */
    int32_t padding;   /* the value of rows of padding */
    int32_t wide;      /* 1: int16 */
} dfq_band_t;

typedef struct {
    int32_t first, end;
} DFQ_MAY_ALIAS dfq_rows_t;

/* All bands of a network: bands[i] tells of a band what never changes, rows[i] what is in memory. */
typedef struct {
    int8_t *arena;
    const dfq_band_t *bands;
    dfq_rows_t *rows;
} dfq_bands_t;

/* Copy rows upwards to a lower or disjoint address, whole words where both are aligned. */
DFQ_SHARED void dfq_move_rows(int8_t *to, const int8_t *from, int32_t count)
{
    if ((((uintptr_t)to | (uintptr_t)from) & 3u) == 0u) {
        dfq_word_t *w = (dfq_word_t *)(void *)to;
        const dfq_word_t *v = (const dfq_word_t *)(const void *)from;
        for (; count >= 32; count -= 32, w += 8, v += 8) {
            for (int32_t half = 0; half < 8; half += 4) {
                const uint32_t a = v[half], b = v[half + 1], c = v[half + 2], d = v[half + 3];
                w[half] = a;
                w[half + 1] = b;
                w[half + 2] = c;
                w[half + 3] = d;
            }
        }
        to = (int8_t *)w;
        from = (const int8_t *)v;
    }
    dfq_copy(to, from, count);
}

/* The number of the next row of band `i`. */
DFQ_INLINE int32_t dfq_next_row(const dfq_bands_t *all, int32_t i)
{
    return all->rows[i].end;
}

/* Where row `row`, which is in memory, begins. */
DFQ_INLINE int8_t *dfq_row(const dfq_bands_t *all, int32_t i, int32_t row)
{
    const dfq_band_t *band = &all->bands[i];
    return all->arena + band->offset + (row - all->rows[i].first) * band->row_bytes;
}

/* Where the next `count` rows go; rows below `keep` may be dropped for them. */
DFQ_INLINE int8_t *dfq_room(const dfq_bands_t *all, int32_t i, int32_t keep, int32_t count)
{
    const dfq_band_t *band = &all->bands[i];
    dfq_rows_t *rows = &all->rows[i];
    if (rows->end - rows->first + count > band->capacity) {
        const int32_t first = dfq_min(keep, rows->end);
        dfq_move_rows(all->arena + band->offset, dfq_row(all, i, first), (rows->end - first) * band->row_bytes);
        rows->first = first;
    }
    return dfq_row(all, i, rows->end);
}

/* The next `count` rows are written; those beyond the last row of the tensor are not counted. */
DFQ_INLINE void dfq_written(const dfq_bands_t *all, int32_t i, int32_t count)
{
    all->rows[i].end = dfq_min(all->rows[i].end + count, all->bands[i].height);
}

DFQ_SHARED void dfq_fill_rows(const dfq_band_t *band, int8_t *to, int32_t count)
{
    const int32_t bytes = count * band->row_bytes;
    if (band->wide) {
        dfq_half_t *halves = (dfq_half_t *)(void *)to;
        for (int32_t k = 0; k < bytes / 2; k++) {
            halves[k] = (int16_t)band->padding;
        }
    } else {
        dfq_fill(to, band->padding, bytes);
    }
}

/* Before the first row. */
DFQ_INLINE void dfq_begin_rows(const dfq_bands_t *all, int32_t i)
{
    const dfq_band_t *band = &all->bands[i];
    all->rows[i].first = -band->above;
    all->rows[i].end = 0;
    dfq_fill_rows(band, all->arena + band->offset, band->above);
}

/* After the last row: one of padding, where any is wanted still. */
DFQ_INLINE bool dfq_pad_row(const dfq_bands_t *all, int32_t i, int32_t keep)
{
    const dfq_band_t *band = &all->bands[i];
    if (all->rows[i].end < band->height || all->rows[i].end >= band->wanted) {
        return false;
    }
    dfq_fill_rows(band, dfq_room(all, i, keep, 1), 1);
    all->rows[i].end++;
    return true;
}

#endif
