// A person's word, said to the API.
import { nobody } from "./toast.js";

const AT_ONCE = 1000;

async function post(word) {
  const answer = await fetch("/api/v1/verdicts", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(word),
  }).catch(nobody);
  const data = await answer.json();
  if (answer.ok) return data;
  const { code, message } = data.error;
  const isOfTag = code === "not_found" && message.startsWith("there is no tag"); // and says it as a command line does
  if (isOfTag && !word.new && word.verdict === "confirm") {
    if (confirm(`There is no tag ${word.tag}. Make it one, of your own?`)) return post({ ...word, new: true });
  }
  if (isOfTag) throw new Error(`There is no tag ${word.tag}.`);
  throw new Error(message);
}

// `which` is { images } or { where, album, min }; the sum of what came of it.
export async function say(verdict, tag, which) {
  if (!which.images) return post({ verdict, tag, ...which });
  const sum = { new: 0, taken_back: 0 };
  for (let start = 0; start < which.images.length; start += AT_ONCE) {
    const noted = await post({ verdict, tag, images: which.images.slice(start, start + AT_ONCE) });
    sum.new += noted.new;
    sum.taken_back += noted.taken_back;
  }
  return sum;
}

export function inWords(verdict, tag, noted) {
  const some = (count) => `${count.toLocaleString("en")} ${count === 1 ? "verdict" : "verdicts"}`;
  if (verdict === "none") return `Took back ${some(noted.taken_back)} on ${tag}.`;
  const deed = verdict === "confirm" ? "Confirmed" : "Rejected";
  if (!noted.new) return `${tag}: that was said before.`;
  return `${deed} ${tag}: ${some(noted.new)}${noted.taken_back ? `, ${noted.taken_back} taken back` : ""}.`;
}
