/* Feeds order flow to orderly-chaos through its C interface; trades go to an array. */
#include <stdint.h>

typedef struct {
    uint64_t taker_id, maker_id, price;
    uint32_t quantity, maker_remaining;
    int32_t taker_side;
} oc_trade;

extern void *oc_book_new(void);
extern void oc_book_free(void *);
extern int32_t oc_book_set_trade_callback(void *, void (*)(const oc_trade *, void *), void *);
extern int32_t oc_book_limit(void *, int32_t, uint64_t, uint32_t, uint64_t, uint32_t *);
extern int32_t oc_book_market(void *, int32_t, uint64_t, uint32_t, uint32_t *);
extern int32_t oc_book_cancel(void *, uint64_t);

typedef struct { int64_t *at; long count, room; } sink;

static void take(const oc_trade *trade, void *user) {
    sink *out = user;
    if (out->count < out->room) {
        int64_t *row = out->at + 4 * out->count;
        row[0] = trade->maker_id;
        row[1] = trade->taker_id;
        row[2] = trade->price;
        row[3] = trade->quantity;
    }
    out->count++;
}

/* Rows are kind (0 limit, 1 market, 2 cancel, 3 move), order id, side (0 buy), price, lots. */
long play(const int64_t *rows, long count, int64_t *trades, long room) {
    sink out = {trades, 0, room};
    uint32_t filled;
    void *book = oc_book_new();
    oc_book_set_trade_callback(book, take, &out);
    for (long i = 0; i < count; i++, rows += 5) {
        if (rows[0] >= 2) oc_book_cancel(book, rows[1]);
        if (rows[0] == 2) continue;
        int32_t side = rows[2] == 0; /* 1 is a buy there */
        if (rows[0] == 1) oc_book_market(book, side, rows[1], rows[4], &filled);
        else oc_book_limit(book, side, rows[1], rows[4], rows[3], &filled);
    }
    oc_book_free(book);
    return out.count < room ? out.count : room;
}
