// The server's answers, with its errors in words.

export class ApiError extends Error {}

const GONE = "The viewer's server does not answer. Is `cohortseg view` still running? Start it again and open the address it prints.";

/** Return the JSON of an address of the server; raise ApiError with words where there is none. */
async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(GONE);
  }
  if (response.ok) return response.json();
  throw new ApiError(await words(response));
}

async function words(response) {
  const text = await response.text();
  try {
    return JSON.parse(text).error ?? text;
  } catch {
    return text || `The server answered ${response.status} ${response.statusText}.`;
  }
}

/** Return why an address gives no picture, in words; empty where it does. */
export async function reasonOf(path) {
  try {
    const response = await fetch(path, { credentials: "same-origin" });
    return response.ok ? "" : await words(response);
  } catch {
    return GONE;
  }
}

const of = (sample) => `/api/samples/${encodeURIComponent(sample)}`;

export const getCohort = () => request("/api/cohort");
export const getSample = (sample, signal) => request(of(sample), { signal });
export const getFlags = (sample, signal) => request(`${of(sample)}/flags`, { signal });
export const getProgress = (sample) => request(`${of(sample)}/progress`);
export const getCellAt = (sample, x, y, signal) => request(`${of(sample)}/cell?x=${x}&y=${y}`, { signal });
export const getCell = (sample, id, signal) => request(`${of(sample)}/cell?id=${id}`, { signal });

export const putFlag = (sample, flag) =>
  request(`${of(sample)}/flags`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ cell_id: flag.cell_id, flag: flag.flag, x: flag.x, y: flag.y, note: flag.note }),
  });
export const removeFlag = (sample, cellId) => request(`${of(sample)}/flags/${cellId}`, { method: "DELETE" });

/** Return the query of a composite: the channels that are on, in their order. */
export function compositeQuery(channels) {
  return channels
    .filter((channel) => channel.on)
    .map((channel) => `c=${channel.index}:${channel.lower}:${channel.upper}:${channel.color.slice(1)}`)
    .join("&");
}

export const imageTile = (sample, query, level, x, y) => `${of(sample)}/image/${level}/${x}_${y}.jpg?${query}`;
export const outlineTile = (sample, color, level, x, y) =>
  `${of(sample)}/outlines/${level}/${x}_${y}.png?color=${color.slice(1)}`;
