// SMA, EMA, Bollinger bands and RSI. Pure. Each keeps its values; `from` is the first index whose price is new, so that
// a live price costs one step. What is not known yet is NaN.

/** Mean of the last `length` values. */
export class Sma {
  constructor(length) {
    this.length = length;
    this.values = [];
  }

  update(prices, from = 0) {
    const { length, values } = this;
    for (let i = from; i < prices.length; i += 1) values[i] = i + 1 < length ? NaN : mean(prices, i + 1 - length, i + 1);
    values.length = prices.length;
    return values;
  }
}

/** Exponential mean with weight 2 / (length + 1), begun with the mean of the first `length` values. */
export class Ema {
  constructor(length) {
    this.length = length;
    this.values = [];
  }

  update(prices, from = 0) {
    const { length, values } = this;
    const weight = 2 / (length + 1);
    for (let i = from; i < prices.length; i += 1) {
      if (i + 1 < length) values[i] = NaN;
      else if (i + 1 === length) values[i] = mean(prices, 0, length);
      else values[i] = values[i - 1] + weight * (prices[i] - values[i - 1]);
    }
    values.length = prices.length;
    return values;
  }
}

/** Mean of the last `length` values, and `width` standard deviations (of the whole window) above and below. */
export class Bollinger {
  constructor(length, width = 2) {
    this.length = length;
    this.width = width;
    this.middle = [];
    this.upper = [];
    this.lower = [];
  }

  update(prices, from = 0) {
    const { length, width, middle, upper, lower } = this;
    for (let i = from; i < prices.length; i += 1) {
      if (i + 1 < length) {
        middle[i] = upper[i] = lower[i] = NaN;
        continue;
      }
      const centre = mean(prices, i + 1 - length, i + 1);
      let squares = 0;
      for (let k = i + 1 - length; k <= i; k += 1) squares += (prices[k] - centre) ** 2;
      const far = width * Math.sqrt(squares / length);
      [middle[i], upper[i], lower[i]] = [centre, centre + far, centre - far];
    }
    middle.length = upper.length = lower.length = prices.length;
    return middle;
  }
}

/** Wilder's relative strength index: smoothed with weight 1 / length, begun with the means of the first changes. */
export class Rsi {
  constructor(length) {
    this.length = length;
    this.values = [];
    this.gains = [];
    this.losses = [];
  }

  update(prices, from = 0) {
    const { length, values, gains, losses } = this;
    for (let i = from; i < prices.length; i += 1) {
      if (i < length) {
        values[i] = gains[i] = losses[i] = NaN;
        continue;
      }
      if (i === length) {
        gains[i] = losses[i] = 0;
        for (let k = 1; k <= length; k += 1) {
          gains[i] += Math.max(0, prices[k] - prices[k - 1]) / length;
          losses[i] += Math.max(0, prices[k - 1] - prices[k]) / length;
        }
      } else {
        const change = prices[i] - prices[i - 1];
        gains[i] = (gains[i - 1] * (length - 1) + Math.max(0, change)) / length;
        losses[i] = (losses[i - 1] * (length - 1) + Math.max(0, -change)) / length;
      }
      const both = gains[i] + losses[i];
      values[i] = both ? (100 * gains[i]) / both : 50;
    }
    values.length = gains.length = losses.length = prices.length;
    return values;
  }
}

/** "sma20", "ema50", "bb20" (two deviations), "rsi14" → the indicator; null for what is none. */
export function indicatorOf(name) {
  const match = /^(sma|ema|bb|rsi)([1-9][0-9]{0,2})$/.exec(name);
  if (!match || (match[1] === "bb" && match[2] === "1")) return null;
  const make = { sma: Sma, ema: Ema, bb: Bollinger, rsi: Rsi }[match[1]];
  return new make(Number(match[2]));
}

function mean(prices, from, to) {
  let sum = 0;
  for (let i = from; i < to; i += 1) sum += prices[i];
  return sum / (to - from);
}
