// An image that the format's own tool has made, compressed with gzip.

/** `bximage -func=convert -imgmode=growing` of Bochs 2.7 made it of 1008 sectors: 20,000 bytes of 1 at the begin, and 700 of 2 at 300,000. */
export const BXIMAGE =
  'H4sIAAAAAAACA+3YOwrCQBAG4I0P7MQj5BJeQAS1tbCzCBqioAZ8YOVdvYkmCoq9hYnfx04x7SwLs/8gX6wO8Wy9P56STTwexpNtkqXhZZou802evfrRPj+vd+8+hMbjlB' +
  'WVbS+EfusyD9dOoBqi5/WFZlGtom58aJsJAHVj/fnv3Q8AAACoPfmP/AcAAACQ/yD/AQAAAOQ/yH8AAAAA+Q/yHwAAAH6TH3K9dY0AoJYaUFFeLwDA990BKdtoIgB2AAA=';
