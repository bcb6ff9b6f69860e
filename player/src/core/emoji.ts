/** A small palette, with the names that a screen reader says. */
export const REACTIONS: readonly (readonly [string, string])[] = [
  ['👍', 'Thumbs up'],
  ['👏', 'Clapping'],
  ['❤️', 'Heart'],
  ['😂', 'Laughing'],
  ['😮', 'Surprised'],
  ['🤔', 'Thinking'],
];

export const EMOJI: readonly (readonly [string, string])[] = [
  ['😀', 'Grinning'], ['😅', 'Relieved laugh'], ['😂', 'Tears of joy'], ['🙂', 'Smile'], ['😉', 'Wink'], ['😊', 'Blushing smile'], ['😍', 'Heart eyes'], ['😎', 'Sunglasses'],
  ['🤔', 'Thinking'], ['😐', 'Neutral'], ['🙄', 'Rolling eyes'], ['😮', 'Surprised'], ['😴', 'Sleeping'], ['😕', 'Confused'], ['😢', 'Crying'], ['😱', 'Screaming'],
  ['🤯', 'Mind blown'], ['🥳', 'Party'], ['🤷', 'Shrug'], ['🙏', 'Thank you'], ['👍', 'Thumbs up'], ['👎', 'Thumbs down'], ['👏', 'Clapping'], ['🙌', 'Raised hands'],
  ['👋', 'Wave'], ['✋', 'Hand'], ['💪', 'Strong'], ['❤️', 'Heart'], ['🔥', 'Fire'], ['✨', 'Sparkles'], ['🎉', 'Celebration'], ['💡', 'Idea'],
  ['✅', 'Check mark'], ['❌', 'Cross'], ['❓', 'Question mark'], ['❗', 'Exclamation mark'], ['⏰', 'Clock'], ['📌', 'Pin'], ['📎', 'Paper clip'], ['☕', 'Coffee'],
];

export const nameOf = (emoji: string): string => [...REACTIONS, ...EMOJI].find(([one]) => one === emoji)?.[1] ?? emoji;
