// The times of a directory: the local date since 1980, and two seconds a step.

export interface FatTime {
  date: number;
  time: number;
}

const FIRST_YEAR = 1980;
const LAST_YEAR = FIRST_YEAR + 127;

/** The time that is nearest to `ms`, milliseconds since 1970, among those that a directory can say. */
export function fatTime(ms: number): FatTime {
  const at = new Date(ms);
  const year = at.getFullYear();
  if (!(year >= FIRST_YEAR)) return { date: dateOf(FIRST_YEAR, 1, 1), time: 0 };
  if (year > LAST_YEAR) return { date: dateOf(LAST_YEAR, 12, 31), time: timeOf(23, 59, 58) };
  return {
    date: dateOf(year, at.getMonth() + 1, at.getDate()),
    time: timeOf(at.getHours(), at.getMinutes(), at.getSeconds()),
  };
}

function dateOf(year: number, month: number, day: number): number {
  return ((year - FIRST_YEAR) << 9) | (month << 5) | day;
}

function timeOf(hours: number, minutes: number, seconds: number): number {
  return (hours << 11) | (minutes << 5) | (seconds >> 1);
}

/** The local time that a directory says, in milliseconds since 1970. What is no date becomes one. */
export function msOfFatTime({ date, time }: FatTime): number {
  const year = FIRST_YEAR + (date >> 9);
  const at = new Date(year, ((date >> 5) & 15) - 1, date & 31, time >> 11, (time >> 5) & 63, (time & 31) * 2);
  return at.getTime();
}
