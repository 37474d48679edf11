// Hosts that are reached without a proxy: what the variable `no_proxy` says, as curl reads it.
//
//   *                      all hosts, where nothing stands beside it
//   example.com            this host, and all below it; a dot in front or behind changes nothing
//   192.0.2.7, 2001:db8::1 this address
//   192.0.2.0/24           these addresses

/** `host`: as `URL.hostname` gives it, in lower case, an address of IPv6 in brackets. */
export function isLeftOut(list: string, host: string): boolean {
  if (list === '*') return true;
  const { isIP } = net();
  const bare = host.replace(/^\[|\]$/g, '');
  const matches = isIP(bare) === 0 ? isOrIsBelow : covers;
  return list.split(/[\s,]+/).some((entry) => entry !== '' && matches(entry.toLowerCase(), bare));
}

function isOrIsBelow(entry: string, host: string): boolean {
  const domain = entry.replace(/^\./, '').replace(/\.$/, '');
  return domain !== '' && `.${host.replace(/\.$/, '')}`.endsWith(`.${domain}`);
}

/** Bits that are no number, or none, stand for the address alone. */
function covers(entry: string, address: string): boolean {
  const { BlockList, isIP } = net();
  const [network, text = ''] = entry.split('/', 2);
  const family = isIP(address);
  if (isIP(network) !== family) return false;
  const type = family === 4 ? 'ipv4' : 'ipv6';
  const all = family === 4 ? 32 : 128;
  const bits = Number.parseInt(text, 10) || all;
  if (bits < 0 || bits > all) return false;
  const list = new BlockList();
  list.addSubnet(network, bits, type);
  return list.check(address, type);
}

/** Loaded with the first request. */
function net(): typeof import('node:net') {
  return process.getBuiltinModule('node:net');
}
