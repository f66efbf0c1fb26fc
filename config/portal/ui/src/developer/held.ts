/** The key that was made last in this page, so that it need not be copied from tab to tab. It is nowhere but in memory, and gone with the page. */
let key = '';

export const hold = (k: string) => void (key = k);
export const held = () => key;
