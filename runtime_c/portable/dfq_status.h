/* SPDX-License-Identifier: MIT-0 */
/* What the functions of a network return, and the checks of a debug build (NAME_CHECKS defined as 1). */
#ifndef DFQ_STATUS_H
#define DFQ_STATUS_H

#include <stddef.h>
#include <stdint.h>

typedef int32_t dfq_status_t;

enum {
    DFQ_OK = 0,
    DFQ_NO_NETWORK = 1, /* the pointer to the network is NULL */
    DFQ_MISALIGNED = 2, /* the network starts at an address that its type does not allow */
    DFQ_NO_ROWS = 3,    /* the pointer to rows is NULL */
    DFQ_NOT_BEGUN = 4,  /* rows before NAME_begin(), or after NAME_finish() */
    DFQ_ROW_COUNT = 5,  /* more rows than are left, fewer than none, or NAME_finish() before all are in */
    DFQ_NOT_RESET = 6   /* a network with states before the first NAME_reset() */
};

/* Marks of a network that is begun or reset: no value that memory has by chance. */
#define DFQ_BEGUN_MARK 0x5A17C3E9u
#define DFQ_RESET_MARK 0x93B6E24Du

static inline dfq_status_t dfq_check_network(const void *net, uint32_t alignment)
{
    dfq_status_t status = DFQ_OK;
    if (net == NULL) {
        status = DFQ_NO_NETWORK;
    } else if (((uintptr_t)net & (uintptr_t)(alignment - 1u)) != 0u) {
        status = DFQ_MISALIGNED;
    }
    return status;
}

/* `count` more rows at `rows`, of which `left` are still to come. */
static inline dfq_status_t dfq_check_rows(uint32_t begun, const void *rows, int32_t count, int32_t left)
{
    dfq_status_t status = DFQ_OK;
    if (begun != DFQ_BEGUN_MARK) {
        status = DFQ_NOT_BEGUN;
    } else if (count < 0 || count > left) {
        status = DFQ_ROW_COUNT;
    } else if (rows == NULL && count > 0) {
        status = DFQ_NO_ROWS;
    }
    return status;
}

static inline dfq_status_t dfq_check_all_rows(uint32_t begun, int32_t left)
{
    dfq_status_t status = DFQ_OK;
    if (begun != DFQ_BEGUN_MARK) {
        status = DFQ_NOT_BEGUN;
    } else if (left != 0) {
        status = DFQ_ROW_COUNT;
    }
    return status;
}

static inline dfq_status_t dfq_check_states(uint32_t was_reset)
{
    return was_reset == DFQ_RESET_MARK ? DFQ_OK : DFQ_NOT_RESET;
}

#endif
