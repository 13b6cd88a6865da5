"""One small file of every tick format, written from its documented header, and what it becomes.

`price` and `time` are texts of the third line that a test may damage; `rows` are (seconds after
BEGIN, kind or side, price, lots or amount) of what is read.
"""

from dataclasses import dataclass, field

from engine import constants as c
from engine.importers.common import MarketSpec

BEGIN = 1_700_000_000  # 2023-11-14 22:13:20
BTC = MarketSpec(market_id=1, price_decimals=2, lot="0.001", tick_price=10)
CONTRACTS = MarketSpec(market_id=1, price_decimals=1, lot="1", tick_price=5)
INDEX, MARK, FUNDING = c.CommandKind.INDEX, c.CommandKind.MARK, c.CommandKind.FUNDING
TRADE, DEPTH, CLEAR = c.CommandKind.TRADE, c.CommandKind.DEPTH, c.CommandKind.DEPTH_CLEAR


@dataclass
class Sample:
    """A file's text, and the rows (seconds, kind, side, price, lots, amount) it must give."""

    kind: str
    text: str
    rows: list[tuple]
    market: MarketSpec = BTC
    symbol: str = "BTCUSDT"
    price: str = "100.1"
    counts: dict[str, int] = field(default_factory=dict)
    role: str = ""


def book(seconds, side, price, lots):
    """A row of a book."""
    return seconds, DEPTH, side, price, lots, 0


def trade(seconds, price, lots, side=0):
    """A row of a trade; the side is the taker's."""
    return seconds, TRADE, side, price, lots, 0


MS, US = "1700000000000", "1700000000000000"
SAMPLES = [
    Sample(
        "aggTrades",
        "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"
        "7,100.0,0.5,10,11,1700000000000,true\n"
        "8,100.1,1.25,12,12,1700000001000,false\n"
        "8,100.1,1.25,12,12,1700000001000,false\n"
        "11,100.2,0.001,15,15,1700000002500,true\n",
        [trade(0, 10000, 500, 2), trade(1, 10010, 1250, 1), trade(2.5, 10020, 1, 2)],
        counts={"duplicates": 1, "gaps": 1, "numbers_missing": 2},
    ),
    Sample(
        "trades",
        "id,price,qty,quote_qty,time,is_buyer_maker\n"
        "7,100.0,0.5,50,1700000000000,true\n8,100.1,1.25,125.125,1700000001000,false\n"
        "9,100.2,0.001,0.1002,1700000001000,false\n",
        [trade(0, 10000, 500, 2), trade(1, 10010, 1250, 1), trade(1, 10020, 1, 1)],
    ),
    Sample(
        "bookTicker",
        "update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time,"
        "event_time\n"
        "1,99.9,1,100.0,2,1700000000000,1700000000001\n"
        "2,99.9,1,100.1,3,1700000001000,1700000001001\n"
        "3,100.3,1,100.2,1,1700000001500,1700000001501\n"
        "4,100.0,0.5,100.1,3,1700000002000,1700000002001\n",
        [book(0, 1, 9990, 1000), book(0, 2, 10000, 2000), book(1, 2, 10000, 0),
         book(1, 2, 10010, 3000), book(2, 1, 9990, 0), book(2, 1, 10000, 500)],
        counts={"crossed": 1, "rows_kept": 3},
    ),
    Sample(
        "fundingRate",
        "calc_time,funding_interval_hours,last_funding_rate\n"
        "1700000000000,8,0.00010000\n1700028800000,8,-0.00375000\n",
        [(0, FUNDING, 0, 0, 0, 100_000), (28800, FUNDING, 0, 0, 0, -3_750_000)],
        price="-0.00375000",
    ),
    Sample(
        "liquidationSnapshot",
        "time,side,order_type,time_in_force,original_quantity,price,average_price,order_status,"
        "last_fill_quantity,accumulated_fill_quantity\n"
        "1700000000000,BUY,LIMIT,IOC,7,100.7,100.6,FILLED,6,7\n"
        "1700000001000,SELL,LIMIT,IOC,5,99.0,100.1,FILLED,5,5\n"
        "1700000001000,SELL,LIMIT,IOC,5,99.0,100.1,FILLED,5,5\n"
        "1700000002000,SELL,LIMIT,IOC,5,99.0,99.12,CANCELED,0,0\n",
        [trade(0, 1006, 7, 1), trade(1, 1001, 5, 2)],
        market=CONTRACTS,
        role="trade",
        counts={"duplicates": 1, "unfilled": 1, "longs_liquidated_lots": 5,
                "shorts_liquidated_lots": 7},
    ),
    Sample(
        "depthUpdates",
        "symbol,timestamp,first_update_id,last_update_id,side,update_type,price,qty,pu\n"
        "BTCUSDT,1700000000000,1,1,b,snap,100.0,1.5,-1\n"
        "BTCUSDT,1700000000000,1,1,a,snap,100.1,2.5,-1\n"
        "BTCUSDT,1700000001000,2,4,b,set,100.0,0.5,1\n"
        "BTCUSDT,1700000001000,2,4,a,set,100.1,0.000,1\n"
        "BTCUSDT,1700000001000,2,4,b,set,100.0,0.7,1\n",
        [(0, CLEAR, 0, 0, 0, 0), book(0, 1, 10000, 1500), book(0, 2, 10010, 2500),
         book(1, 2, 10010, 0), book(1, 1, 10000, 700)],
        counts={"superseded": 1},
    ),
    Sample(
        "tardis.trades",
        "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"
        "x,BTCUSDT,1700000000000000,1700000000100000,a,buy,100.0,0.5\n"
        "x,BTCUSDT,1700000001000000,1700000001100000,b,sell,100.1,1e-3\n"
        "x,BTCUSDT,1700000000500000,1700000001200000,c,unknown,100.2,2\n"
        "x,BTCUSDT,1700000001000000,1700000001300000,b,sell,100.1,1e-3\n"
        "x,ETHUSDT,1700000001000000,1700000001300000,d,sell,7.123,1\n",
        [trade(0, 10000, 500, 1), trade(1, 10010, 1, 2), trade(1, 10020, 2000)],
        counts={"reordered": 1, "duplicates": 1, "other_markets": 1},
    ),
    Sample(
        "tardis.liquidations",
        "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"
        "x,BTCUSDT,1700000000000000,1700000000100000,,buy,100.05,0.5\n"
        "x,BTCUSDT,1700000001000000,1700000001100000,,sell,100.1,1.5\n",
        [trade(0, 10005, 500, 1), trade(1, 10010, 1500, 2)],
        role="trade",
        counts={"longs_liquidated": 1, "shorts_liquidated": 1, "longs_liquidated_lots": 1500},
    ),
    Sample(
        "tardis.quotes",
        "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount\n"
        "x,BTCUSDT,1700000000000000,1700000000100000,2,100.0,99.9,1\n"
        "x,BTCUSDT,1700000001000000,1700000001100000,3,100.1,99.9,1\n"
        "x,BTCUSDT,1700000002000000,1700000002100000,3,100.1,,\n",
        [book(0, 1, 9990, 1000), book(0, 2, 10000, 2000), book(1, 2, 10000, 0),
         book(1, 2, 10010, 3000), book(2, 1, 9990, 0)],
    ),
    Sample(
        "tardis.incremental_book_L2",
        "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount\n"
        "x,BTCUSDT,1700000000000000,1700000000100000,true,bid,99.9,1\n"
        "x,BTCUSDT,1700000000000000,1700000000100000,true,ask,100.1,2\n"
        "x,BTCUSDT,1700000001000000,1700000001100000,false,bid,100.2,3\n"
        "x,BTCUSDT,1700000002000000,1700000002100000,false,bid,100.0,4\n"
        "x,BTCUSDT,1700000002000000,1700000002100000,false,bid,100.2,0\n",
        [(0, CLEAR, 0, 0, 0, 0), book(0, 1, 9990, 1000), book(0, 2, 10010, 2000),
         book(1, 1, 10020, 3000), book(2, 1, 10020, 0), book(2, 1, 10000, 4000)],
        counts={"crossed": 1},
    ),
    Sample(
        "tardis.book_snapshot",
        "exchange,symbol,timestamp,local_timestamp,asks[0].price,asks[0].amount,bids[0].price,"
        "bids[0].amount,asks[1].price,asks[1].amount,bids[1].price,bids[1].amount\n"
        "x,BTCUSDT,1700000000000000,1700000000100000,100.2,1,100.0,2,100.3,3,99.9,4\n"
        "x,BTCUSDT,1700000001000000,1700000001100000,100.1,9,100.0,5,100.2,1,99.9,4\n",
        [book(0, 1, 10000, 2000), book(0, 1, 9990, 4000), book(0, 2, 10020, 1000),
         book(0, 2, 10030, 3000), book(1, 2, 10030, 0), book(1, 1, 10000, 5000),
         book(1, 2, 10010, 9000)],
    ),
    Sample(
        "tardis.derivative_ticker",
        "exchange,symbol,timestamp,local_timestamp,funding_timestamp,funding_rate,"
        "predicted_funding_rate,open_interest,last_price,index_price,mark_price\n"
        f"x,BTCUSDT,{US},{US},1700000003000000,0.0001,0.0002,10,1,100.05,100.06\n"
        f"x,BTCUSDT,1700000002000000,{US},1700000003000000,0.0003,,,,,100.1\n"
        f"x,BTCUSDT,1700000004000000,{US},1700028800000000,0.0005,,,,100.055,100.1\n",
        [(0, INDEX, 0, 10005, 0, 0), (0, MARK, 0, 10006, 0, 0), (2, MARK, 0, 10010, 0, 0),
         (4, INDEX, 0, 10006, 0, 0), (4, FUNDING, 0, 0, 0, 300_000)],
        counts={"rounded": 1},
    ),
    Sample(
        "bybit.trades",
        "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,"
        "foreignNotional,RPI\n"
        "1700000000.0547,BTCUSDT,Buy,0.038,100.00,ZeroPlusTick,a,1e+08,0.038,3.8,0\n"
        "1700000001.5,BTCUSDT,Sell,0.5,100.1,MinusTick,b,5e+09,0.5,50.05,0\n",
        [trade(0.0547, 10000, 38, 1), trade(1.5, 10010, 500, 2)],
    ),
    Sample(
        "bybit.spotTrades",
        "id,timestamp,price,volume,side,rpi\n"
        "1,1700000000000,100.0,0.038,buy,0\n2,1700000001000,100.1,0.5,sell,0\n",
        [trade(0, 10000, 38, 1), trade(1, 10010, 500, 2)],
    ),
    Sample(
        "bitmex.trades",
        "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,"
        "foreignNotional,trdType\n"
        "2023-11-14D22:13:20.000000001,XBTUSD,Sell,100,100.0,MinusTick,a,1,1,1,Regular\n"
        "2023-11-14D22:13:21.500000000,XBTUSD,Buy,200,100.1,PlusTick,b,1,1,1,Regular\n"
        "2023-11-14D22:13:22.500000000,.BXBT,,0,100.13,PlusTick,c,,,,Regular\n",
        [trade(1e-9, 1000, 100, 2), trade(1.5, 1001, 200, 1)],
        market=MarketSpec(market_id=1, price_decimals=1, lot="1", tick_price=1),
        symbol="XBTUSD",
        counts={"other_markets": 1},
    ),
    Sample(
        "bitmex.liquidations",
        "timestamp_s,timestamp_ns_part,symbol,side,orderID,leavesQty,price\n"
        "1700000000,24000000,XBTUSD,Sell,a,100,100.5\n"
        "1700000001,0,XBTUSD,Buy,b,200,100.0\n",
        [trade(0.024, 1005, 100, 2), trade(1, 1000, 200, 1)],
        market=CONTRACTS,
        symbol="XBTUSD",
        price="100.0",
        role="trade",
        counts={"longs_liquidated_lots": 100, "shorts_liquidated_lots": 200},
    ),
    Sample(
        "okx.trades",
        "instrument_name,trade_id,side,price,size,created_time\n"
        "BTC-USDT-SWAP,1,buy,100.0,1.5,1700000000000\n"
        "BTC-USDT-SWAP,2,sell,100.1,2,1700000001000\n",
        [trade(0, 10000, 1500, 1), trade(1, 10010, 2000, 2)],
        symbol="BTC-USDT-SWAP",
    ),
    Sample(
        "kraken.trades",
        "1700000000,100.0,0.5\n1700000001,100.1,0.25\n",
        [trade(0, 10000, 500), trade(1, 10010, 250)],
    ),
]  # fmt: skip
