// Feeds order flow to liquibook's book; trades go to an array.
#include <book/order.h>
#include <book/order_book.h>
#include <cstdint>
#include <deque>
#include <vector>

using namespace liquibook::book;

struct Plain : public Order {
    bool buys, now;
    Price limit;
    Quantity lots;
    int64_t id;
    bool is_buy() const override { return buys; }
    Price price() const override { return limit; }
    Price stop_price() const override { return 0; }
    Quantity order_qty() const override { return lots; }
    bool all_or_none() const override { return false; }
    bool immediate_or_cancel() const override { return now; }
};

struct Sink : public OrderListener<Plain *> {
    int64_t *at;
    long count = 0, room;
    Sink(int64_t *where, long rows) : at(where), room(rows) {}
    void on_fill(Plain *const &taker, Plain *const &maker, Quantity lots, Price price) override {
        if (count < room) {
            int64_t *row = at + 4 * count;
            row[0] = maker->id;
            row[1] = taker->id;
            row[2] = price;
            row[3] = lots;
        }
        count++;
    }
    void on_accept(Plain *const &) override {}
    void on_reject(Plain *const &, const char *) override {}
    void on_cancel(Plain *const &) override {}
    void on_cancel_reject(Plain *const &, const char *) override {}
    void on_replace(Plain *const &, const int64_t &, Price) override {}
    void on_replace_reject(Plain *const &, const char *) override {}
};

// Rows are kind (0 limit, 1 market, 2 cancel, 3 move), order id, side (0 buy), price, lots.
extern "C" long play(const int64_t *rows, long count, int64_t *trades, long room) {
    OrderBook<Plain *> book;
    Sink sink(trades, room);
    std::deque<Plain> made;
    std::vector<Plain *> live(count + 2, nullptr);
    book.set_order_listener(&sink);
    for (long i = 0; i < count; i++, rows += 5) {
        if (rows[0] >= 2) book.cancel(live[rows[1]]);
        if (rows[0] == 2) continue;
        made.emplace_back();
        Plain &order = made.back();
        order.buys = rows[2] == 0;
        order.now = rows[0] == 1;
        order.limit = rows[3];
        order.lots = rows[4];
        order.id = rows[1];
        live[rows[1]] = &order;
        book.add(&order, order.now ? oc_immediate_or_cancel : oc_no_conditions);
    }
    return sink.count < room ? sink.count : room;
}
